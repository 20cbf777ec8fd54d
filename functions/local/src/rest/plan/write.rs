//! What is written, and which rows.

use super::{
    super::{
        refusal::Refusal,
        refuse,
        request::{
            Action, Request,
            prefer::{Resolution, Return},
            tree::{Operator, Test},
        },
        schema::{Column, Schema, Table},
    },
    Condition, Known, Node,
    call::needed,
};
use std::collections::BTreeSet;

/// A write.
#[derive(Debug)]
pub struct Write<'s> {
    /// Of this table.
    pub table: &'s Table,
    /// How.
    pub action: Action,
    /// The columns that are in the body, each with the function that makes its value from JSON, if there is one; SQL.
    pub columns: Vec<(&'s Column, Option<&'s str>)>,
    /// Which rows are changed or removed; of a `PUT` which one may be written.
    pub conditions: Vec<Condition>,
    /// What happens to rows that are there already.
    pub conflict: Option<Conflict>,
    /// What is missing in the body gets its default.
    pub defaults: bool,
    /// What the answer needs of the rows; nothing: only how many there are.
    pub returning: BTreeSet<String>,
}

/// What happens to rows that are there already.
#[derive(Debug)]
pub struct Conflict {
    /// By these columns they are recognised.
    pub columns: Vec<String>,
    /// They are changed.
    pub merge: bool,
}

impl Write<'_> {
    /// Rows may be inserted or changed, and the answer says which.
    pub fn counts_inserted(&self) -> bool {
        self.action == Action::Put || self.conflict.as_ref().is_some_and(|conflict| conflict.merge)
    }
}

/// The write that a request asks for.
pub fn plan<'s>(
    schema: &'s Schema,
    request: &Request,
    table: &'s Table,
    read: &Node<'_>,
) -> Result<Write<'s>, Refusal> {
    let query = &request.query;
    let known = Known { table: Some(table), head: &[] };
    let mut conditions: Vec<Condition> = query
        .filters
        .iter()
        .filter(|(path, _)| path.is_empty())
        .map(|(_, filter)| Condition::of_filter(schema, known, filter))
        .collect();
    let logic = query.logic.iter().filter(|(path, _)| path.is_empty());
    conditions.extend(logic.map(|(_, logic)| Condition::of_logic(schema, known, logic)));

    let columns = request
        .columns
        .iter()
        .map(|name| {
            let column = table.column(name).ok_or_else(|| refuse::no_column(&table.name.name, name))?;
            Ok((column, schema.representation("json", &column.full_type)))
        })
        .collect::<Result<_, Refusal>>()?;
    let conflict = match request.action {
        Action::Put if is_keyed(request, table) => Some(Conflict { columns: table.primary_key.clone(), merge: true }),
        Action::Put => return Err(refuse::unkeyed_put()),
        Action::Insert => request.prefer.resolution.map(|resolution| Conflict {
            columns: query.on_conflict.clone().unwrap_or_else(|| table.primary_key.clone()),
            merge: resolution == Resolution::Merge,
        }),
        _ => None,
    };
    let shown = matches!(request.prefer.returns, Some(Return::Representation | Return::HeadersOnly));
    Ok(Write {
        table,
        action: request.action,
        columns,
        conditions: if request.action == Action::Insert { Vec::new() } else { conditions },
        conflict,
        defaults: request.prefer.missing_default == Some(true) && request.action != Action::Put,
        returning: if shown { needed(read, &table.primary_key, false) } else { BTreeSet::new() },
    })
}

/// All columns of the key, each with `eq`, and no other condition.
fn is_keyed(request: &Request, table: &Table) -> bool {
    let query = &request.query;
    let key: BTreeSet<&String> = table.primary_key.iter().collect();
    let equal = |test: &Test| matches!(test, Test::Compare(Operator { word: "eq", .. }, None, _));
    !key.is_empty()
        && query.logic.is_empty()
        && query.filter_names.iter().collect::<BTreeSet<_>>() == key
        && query.filters.iter().all(|(_, filter)| !filter.not && equal(&filter.test))
}
