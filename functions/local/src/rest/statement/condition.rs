//! Columns, conditions and orders in SQL.

use super::{
    super::{
        plan::{Column, Condition, OrderTerm},
        request::tree::{Key, Quantifier, Right, Test, Truth},
    },
    sql::{Sql, array},
};

/// A column of `of`, which is SQL; with the way into it.
pub fn column(sql: &mut Sql, of: &str, column: &Column) {
    if column.whole_row {
        sql.push(of);
        return;
    }
    let wrapped = column.to_json && !column.path.is_empty();
    if wrapped {
        sql.push("to_jsonb(");
    }
    sql.push(of).push(".");
    if column.name == "*" {
        sql.push("*");
    } else {
        sql.ident(&column.name);
    }
    if wrapped {
        sql.push(")");
    }
    for step in &column.path {
        sql.push(if step.text { "->>" } else { "->" });
        match &step.to {
            Key::Name(name) => sql.literal(name),
            Key::Index(index) => sql.literal(index).push("::int"),
        };
    }
}

/// The type of what a column and the way into it lead to, for a cast.
fn kind(column: &Column) -> Option<&str> {
    match column.path.last() {
        Some(step) if step.text => Some("text"),
        Some(_) if column.to_json || column.kind.as_deref() == Some("jsonb") => Some("jsonb"),
        // `json` has no operators; Postgres says so.
        Some(_) => None,
        None => column.kind.as_deref().filter(|kind| *kind != "json"),
    }
}

/// The type of an array of these, which is no array itself.
fn kind_of_array(kind: Option<&str>) -> Option<String> {
    kind.filter(|kind| !kind.ends_with("[]")).map(|kind| format!("{kind}[]"))
}

/// A condition on columns of `of`, which is SQL; `embed` writes that an embed has rows or none.
pub fn condition(sql: &mut Sql, of: &str, condition: &Condition, embed: &mut dyn FnMut(&mut Sql, bool, &str)) {
    match condition {
        Condition::Embed { some, lateral } => embed(sql, *some, lateral),
        Condition::Group { not, all, of: parts } => {
            sql.push(if *not { "not (" } else { "(" });
            sql.each(if *all { " and " } else { " or " }, parts, |sql, part| self::condition(sql, of, part, embed));
            sql.push(")");
        }
        Condition::Column { column, not, test } => {
            if *not {
                sql.push("not ");
            }
            self::test(sql, of, column, test);
        }
    }
}

fn test(sql: &mut Sql, of: &str, asked: &Column, test: &Test) {
    match test {
        Test::Search { function, config, query } => {
            let is_vector = asked.path.is_empty() && asked.kind.as_deref() == Some("tsvector");
            let configured = |sql: &mut Sql| {
                if let Some(config) = config {
                    sql.literal(config).push(", ");
                }
            };
            if is_vector {
                column(sql, of, asked);
            } else {
                sql.push("to_tsvector(");
                configured(sql);
                column(sql, of, asked);
                sql.push(")");
            }
            sql.push(" @@ ").push(function).push("(");
            configured(sql);
            sql.value(query, Some("text")).push(")");
        }
        Test::Is(truth) => {
            column(sql, of, asked);
            sql.push(match truth {
                Truth::Null => " is null",
                Truth::NotNull => " is not null",
                Truth::True => " is true",
                Truth::False => " is false",
                Truth::Unknown => " is unknown",
            });
        }
        Test::Distinct(value) => {
            column(sql, of, asked);
            sql.push(" is distinct from ").value(value, kind(asked));
        }
        Test::In(values) => {
            column(sql, of, asked);
            sql.push(" = any (");
            match (values.as_slice(), &asked.transform) {
                ([only], _) if only.is_empty() => sql.push("'{}'"),
                (values, Some(transform)) => sql
                    .push("select ")
                    .push(transform)
                    .push("(unnest(")
                    .value(&array(values), Some("text[]"))
                    .push("))"),
                (values, None) => sql.value(&array(values), kind_of_array(kind(asked)).as_deref()),
            };
            sql.push(")");
        }
        Test::Compare(operator, quantifier, value) => {
            column(sql, of, asked);
            sql.push(" ").push(operator.sql).push(" ");
            let is_text = matches!(kind(asked), Some("text" | "character varying"));
            let kind = match operator.right {
                // Of an extension's type such an operator may want something else on its right side; Postgres finds out.
                Right::Same if !operator.compares() => kind(asked).filter(|kind| !kind.contains('.')),
                Right::Same => kind(asked),
                Right::Like | Right::Regex => is_text.then_some("text"),
            };
            let starred = matches!(operator.right, Right::Like).then(|| value.replace('*', "%"));
            let value = starred.as_deref().unwrap_or(value);
            match (quantifier, &asked.transform) {
                (Some(quantifier), _) => {
                    sql.push(if *quantifier == Quantifier::Any { "any(" } else { "all(" });
                    sql.value(value, kind_of_array(kind).as_deref()).push(")");
                }
                (None, Some(transform)) if operator.right == Right::Same || operator.right == Right::Regex => {
                    sql.push(transform).push("(").value(value, Some("text")).push(")");
                }
                (None, _) => {
                    sql.value(value, kind);
                }
            }
        }
    }
}

/// `order by`, if there is an order.
pub fn order_by(sql: &mut Sql, of: &str, terms: &[OrderTerm]) {
    if terms.is_empty() {
        return;
    }
    sql.push(" order by ");
    sql.each(", ", terms, |sql, term| {
        match &term.embed {
            Some(embed) => {
                let embed = super::sql::ident(embed);
                column(sql, &embed, &term.column);
            }
            None => column(sql, of, &term.column),
        }
        match term.descending {
            Some(true) => sql.push(" desc"),
            Some(false) => sql.push(" asc"),
            None => sql,
        };
        match term.nulls_first {
            Some(true) => sql.push(" nulls first"),
            Some(false) => sql.push(" nulls last"),
            None => sql,
        };
    });
}
