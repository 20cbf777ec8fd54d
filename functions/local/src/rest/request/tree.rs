//! What a query string asks for.

/// A column, or a part of what is in it: `data->a->>0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The column's name; `*` is all of them.
    pub name: String,
    /// The way into it.
    pub path: Vec<Step>,
}

/// One arrow of a way into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `->>`: the text of what is there.
    pub text: bool,
    /// Where to.
    pub to: Key,
}

/// A member of an object or an element of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// By name.
    Name(String),
    /// By number, with its sign; a text, since it may be larger than any integer here.
    Index(String),
}

/// One thing in `select`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A column.
    Field(Selected),
    /// Rows of another table.
    Embed(Embed),
}

/// A column with what becomes of it: `alias:column.sum()::text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The column.
    pub field: Field,
    /// `.sum()` and the like.
    pub aggregate: Option<Aggregate>,
    /// The type of the aggregate's result.
    pub aggregate_cast: Option<String>,
    /// The type of the column's value.
    pub cast: Option<String>,
    /// Its name in the answer.
    pub alias: Option<String>,
}

/// What is made of many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// `sum()`
    Sum,
    /// `avg()`
    Avg,
    /// `max()`
    Max,
    /// `min()`
    Min,
    /// `count()`
    Count,
}

/// Rows of another table: `alias:target!hint!inner(…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embed {
    /// A table, a constraint or a column that leads there, or a computed relationship.
    pub target: String,
    /// Its name in the answer.
    pub alias: Option<String>,
    /// Which way, where there are several.
    pub hint: Option<String>,
    /// `!inner`: only rows that have some.
    pub inner: bool,
    /// `...`: its columns become those of the outer row.
    pub spread: bool,
    /// What is selected of them.
    pub items: Vec<Item>,
}

/// A condition, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logic {
    /// One.
    Filter(Filter),
    /// Some of which all (`and`) or one (`or`) must hold.
    Group {
        /// It must not be so.
        not: bool,
        /// All must hold, not only one.
        all: bool,
        /// The conditions.
        of: Vec<Logic>,
    },
}

/// A condition on a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The column.
    pub field: Field,
    /// It must not be so.
    pub not: bool,
    /// What is asked of it.
    pub test: Test,
}

/// What a column is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// A comparison with a value, or with any or all of several.
    Compare(Operator, Option<Quantifier>, String),
    /// To be one of these.
    In(Vec<String>),
    /// `is`.
    Is(Truth),
    /// To be something else, where null is a value, too.
    Distinct(String),
    /// To match a text search.
    Search {
        /// Postgres' function that makes a `tsquery`.
        function: &'static str,
        /// The configuration.
        config: Option<String>,
        /// What is searched.
        query: String,
    },
}

/// An operator with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    /// In a query string.
    pub word: &'static str,
    /// In SQL.
    pub sql: &'static str,
    /// What its right side is.
    pub right: Right,
}

impl Operator {
    /// It is one of equality or order.
    #[must_use]
    pub fn compares(&self) -> bool {
        matches!(self.word, "eq" | "neq" | "gt" | "gte" | "lt" | "lte")
    }
}

/// What an operator's right side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// As the left side.
    Same,
    /// A pattern in which `*` means `%`.
    Like,
    /// A regular expression.
    Regex,
}

/// With which of several values a comparison must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// `(any)`
    Any,
    /// `(all)`
    All,
}

/// What `is` can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// `null`
    Null,
    /// `not_null`
    NotNull,
    /// `true`
    True,
    /// `false`
    False,
    /// `unknown`
    Unknown,
}

/// By what rows are ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// An embedded table of which there is one row, if it is by that one's column.
    pub relation: Option<String>,
    /// The column.
    pub field: Field,
    /// `asc`, `desc`.
    pub descending: Option<bool>,
    /// `nullsfirst`, `nullslast`.
    pub nulls_first: Option<bool>,
}

/// Which rows: from the first, counted from zero, to the last, which counts too; without an end all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Of the first.
    pub low: i64,
    /// Of the last; before the first if there is none.
    pub high: Option<i64>,
}

impl Range {
    /// All rows.
    pub const ALL: Self = Self { low: 0, high: None };
    /// No row, as `limit=0` asks.
    pub const NONE: Self = Self { low: 0, high: Some(-1) };

    /// What is in both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        let high = match (self.high, other.high) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self { low: self.low.max(other.low), high }
    }

    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.high.is_some_and(|high| high < self.low)
    }

    /// `limit=0`, which is no mistake.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.high == Some(-1)
    }

    /// How many rows at most.
    #[must_use]
    pub fn limit(self) -> Option<i64> {
        self.high.map(|high| high.saturating_sub(self.low).saturating_add(1))
    }

    /// Of these the first `most`.
    #[must_use]
    pub fn at_most(self, most: Option<i64>) -> Self {
        match most {
            Some(_) if self.is_zero() => Self::NONE,
            Some(most) => {
                self.intersection(Self { low: self.low, high: Some(self.low.saturating_add(most).saturating_sub(1)) })
            }
            None => self,
        }
    }
}
