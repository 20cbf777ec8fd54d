//! Columns with what is known of them: their types, and how their values come in and go out.

use super::super::{
    request::tree::{Aggregate, Field, Filter, Logic, Order, Selected, Step, Test},
    schema::{self, Schema, Table},
};

/// What is known of the columns of some rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'s> {
    /// The table whose rows they are.
    pub table: Option<&'s Table>,
    /// The columns that stand in the head of the function which returns them, with their types.
    pub head: &'s [(String, String)],
}

impl Known<'_> {
    /// A column's type for casts, and its declared one.
    fn types(&self, name: &str) -> (Option<&str>, Option<&str>) {
        if let Some(column) = self.table.and_then(|table| table.column(name)) {
            return (Some(&column.cast_type), Some(&column.full_type));
        }
        let computed = self.table.and_then(|table| table.type_of(name));
        let in_head = || self.head.iter().find(|(column, _)| column == name).map(|(_, kind)| kind.as_str());
        (computed.or_else(in_head), None)
    }
}

/// A column, or a part of what is in it.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The way into it.
    pub path: Vec<Step>,
    /// It is no JSON: the way into it leads over `to_jsonb`.
    pub to_json: bool,
    /// Its type, without a length and of a domain its base; none if nobody knows it.
    pub kind: Option<String>,
    /// The function that turns its value into what is shown, or what is said into its value; SQL.
    pub transform: Option<String>,
    /// The whole row, for `count()` in a spread.
    pub whole_row: bool,
}

/// A column with what becomes of it.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The column.
    pub column: Column,
    /// What is made of many values.
    pub aggregate: Option<Aggregate>,
    /// The type of that.
    pub aggregate_cast: Option<String>,
    /// The type of each value.
    pub cast: Option<String>,
    /// Its name in the answer.
    pub alias: Option<String>,
}

/// A condition.
#[derive(Debug, Clone)]
pub enum Condition {
    /// On a column.
    Column {
        /// The column.
        column: Column,
        /// It must not be so.
        not: bool,
        /// What is asked.
        test: Test,
    },
    /// That an embed has rows, or none.
    Embed {
        /// It has some.
        some: bool,
        /// [`super::Node::lateral`] of the embed.
        lateral: String,
    },
    /// Several.
    Group {
        /// It must not be so.
        not: bool,
        /// All must hold, not only one.
        all: bool,
        /// The conditions.
        of: Vec<Condition>,
    },
}

/// By what rows are ordered.
#[derive(Debug, Clone)]
pub struct OrderTerm {
    /// [`super::Node::lateral`] of the embed whose column it is; before all embeds are known what it was asked for by.
    pub embed: Option<String>,
    /// The column.
    pub column: Column,
    /// `asc`, `desc`.
    pub descending: Option<bool>,
    /// `nullsfirst`, `nullslast`.
    pub nulls_first: Option<bool>,
}

impl Column {
    /// Of which nothing is known.
    pub fn unknown(name: &str, path: Vec<Step>) -> Self {
        let to_json = !path.is_empty();
        Self { name: name.to_owned(), path, to_json, kind: None, transform: None, whole_row: false }
    }

    fn of(known: Known<'_>, field: &Field) -> (Self, Option<String>) {
        let (kind, declared) = known.types(&field.name);
        let column = Self {
            to_json: !matches!(kind, Some("json" | "jsonb")),
            kind: kind.map(str::to_owned),
            ..Self::unknown(&field.name, field.path.clone())
        };
        (column, declared.map(str::to_owned))
    }

    /// For a condition: what is said is a text.
    fn said(schema: &Schema, known: Known<'_>, field: &Field) -> Self {
        let (mut column, full) = Self::of(known, field);
        column.transform = full.and_then(|full| schema.representation("text", &full)).map(str::to_owned);
        column
    }

    /// For the answer: what is shown is JSON.
    fn shown(schema: &Schema, known: Known<'_>, field: &Field) -> Self {
        let (mut column, full) = Self::of(known, field);
        column.transform = full.and_then(|full| schema.representation(&full, "json")).map(str::to_owned);
        column
    }
}

impl Selection {
    /// What was asked for.
    pub fn of(schema: &Schema, known: Known<'_>, selected: &Selected) -> Self {
        Self {
            column: Column::shown(schema, known, &selected.field),
            aggregate: selected.aggregate,
            aggregate_cast: selected.aggregate_cast.clone(),
            cast: selected.cast.clone(),
            alias: selected.alias.clone(),
        }
    }

    /// A column as it is.
    pub fn plain(column: Column, alias: Option<String>) -> Self {
        Self { column, aggregate: None, aggregate_cast: None, cast: None, alias }
    }

    /// One of the columns that `*` stands for.
    pub fn instead_of_star(schema: &Schema, known: Known<'_>, column: &schema::Column, star: &Self) -> Self {
        let field = Field { name: column.name.clone(), path: Vec::new() };
        Self { column: Column::shown(schema, known, &field), ..star.clone() }
    }

    /// `*`
    pub fn is_star(&self) -> bool {
        self.column.name == "*" && self.column.path.is_empty()
    }

    /// Its name in the row.
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.column.name)
    }
}

impl Condition {
    /// What was asked for.
    pub fn of_filter(schema: &Schema, known: Known<'_>, filter: &Filter) -> Self {
        Self::Column { column: Column::said(schema, known, &filter.field), not: filter.not, test: filter.test.clone() }
    }

    /// What was asked for.
    pub fn of_logic(schema: &Schema, known: Known<'_>, logic: &Logic) -> Self {
        match logic {
            Logic::Filter(filter) => Self::of_filter(schema, known, filter),
            Logic::Group { not, all, of } => Self::Group {
                not: *not,
                all: *all,
                of: of.iter().map(|logic| Self::of_logic(schema, known, logic)).collect(),
            },
        }
    }

    /// The columns in it.
    pub fn columns(&self) -> Vec<&str> {
        match self {
            Self::Column { column, .. } => vec![&column.name],
            Self::Embed { .. } => Vec::new(),
            Self::Group { of, .. } => of.iter().flat_map(Self::columns).collect(),
        }
    }
}

impl OrderTerm {
    /// What was asked for.
    pub fn of(known: Known<'_>, order: &Order) -> Self {
        let column = match order.relation {
            Some(_) => Column::unknown(&order.field.name, order.field.path.clone()),
            None => Column::of(known, &order.field).0,
        };
        Self { embed: order.relation.clone(), column, descending: order.descending, nulls_first: order.nulls_first }
    }
}
