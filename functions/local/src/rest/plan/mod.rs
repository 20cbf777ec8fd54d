//! What a request means for this schema: every name is found, every embed has its way, and what can not be is refused.

mod call;
mod column;
mod media;
mod read;
mod similar;
mod spread;
mod way;
mod write;

pub use call::{Arguments, Call, find as find_function};
pub use column::{Column, Condition, Known, OrderTerm, Selection};
pub use media::Maker;
pub use write::Write;

use super::{
    refusal::Refusal,
    refuse,
    request::{
        Action, Request,
        media::Media,
        prefer::Return,
        tree::{Aggregate, Range},
    },
    schema::{Function, Name, Relationship, Schema},
};

/// What is said of a table that is not there.
pub fn no_table(schema: &Schema, name: &Name) -> Refusal {
    let names = schema.tables.keys().filter(|table| table.schema == name.schema).map(|table| table.name.as_str());
    let perhaps = similar::of(names, &name.name, similar::LIKELY).map(|best| format!("{}.{best}", name.schema));
    refuse::no_table(&name.to_string(), perhaps)
}

/// The statement's first part, whose rows the answer is made of.
pub const SOURCE: &str = "pgrst_source";

/// A whole request.
#[derive(Debug)]
pub struct Plan<'s> {
    /// The rows of the answer.
    pub read: Node<'s>,
    /// What is done before they are read.
    pub kind: Kind<'s>,
    /// Who makes the answer of them.
    pub maker: Maker,
    /// The answer's media type.
    pub media: Media,
}

/// What is done before the rows of the answer are read.
#[derive(Debug)]
pub enum Kind<'s> {
    /// Nothing.
    Read,
    /// A table is written.
    Write(Write<'s>),
    /// A function is called.
    Call(Call<'s>),
}

impl Plan<'_> {
    /// The function that is called.
    pub fn function(&self) -> Option<&Function> {
        match &self.kind {
            Kind::Call(call) => Some(call.function),
            Kind::Read | Kind::Write(_) => None,
        }
    }
}

/// Rows of one table with those that are embedded in them.
#[derive(Debug)]
pub struct Node<'s> {
    /// Where they come from.
    pub from: From<'s>,
    /// Its name in the statement.
    pub alias: String,
    /// What is known of its columns.
    pub known: Known<'s>,
    /// What is selected.
    pub select: Vec<Selection>,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// In this order.
    pub order: Vec<OrderTerm>,
    /// These of them.
    pub range: Range,
    /// The way from the outer rows.
    pub way: Option<&'s Relationship>,
    /// The outer rows' name in the statement.
    pub outer: String,
    /// What it was asked for by.
    pub target: String,
    /// What it is called in the answer instead.
    pub renamed: Option<String>,
    /// The name of all this in the outer statement.
    pub lateral: String,
    /// Outer rows without any are left out.
    pub inner: bool,
    /// Its columns become those of the outer row.
    pub spread: Option<Spread>,
    /// What is embedded.
    pub embeds: Vec<Node<'s>>,
    /// How each of these is shown.
    pub shown: Vec<Shown>,
    /// How deep it is embedded.
    pub depth: usize,
}

/// Where rows come from.
#[derive(Debug, Clone)]
pub enum From<'s> {
    /// A table or view.
    Table(Name),
    /// What was written, or the result of a function.
    Source,
    /// A function of the outer row.
    Computed {
        /// The function.
        function: &'s Name,
        /// The outer row's type.
        of: &'s Name,
    },
}

/// How an embed's columns become those of the outer row.
#[derive(Debug)]
pub enum Spread {
    /// There is one row.
    One,
    /// There are many: a list for each column.
    Many {
        /// What is selected only to order by it: whose column, and what.
        select: Vec<(Option<String>, Selection)>,
        /// The order in the lists.
        order: Vec<OrderTerm>,
    },
}

/// How an embed is shown.
#[derive(Debug)]
pub enum Shown {
    /// As a member with its name.
    Json {
        /// Nothing is selected of it, nor of what is in it.
        empty: bool,
    },
    /// As columns.
    Spread(Vec<SpreadColumn>),
}

/// A column of an embed that is one of the outer row.
#[derive(Debug, Clone)]
pub struct SpreadColumn {
    /// Its name in the embed.
    pub name: String,
    /// What is made of it.
    pub aggregate: Option<Aggregate>,
    /// Of which type.
    pub cast: Option<String>,
    /// Its name in the outer row.
    pub alias: Option<String>,
}

impl Node<'_> {
    /// Its name in the answer.
    pub fn shown_name(&self) -> &str {
        self.renamed.as_deref().unwrap_or(&self.target)
    }

    /// One row at most.
    pub fn is_to_one(&self) -> bool {
        self.way.is_some_and(Relationship::is_to_one)
    }

    /// `select` was not given, and nothing is embedded.
    fn selects_all(&self) -> bool {
        matches!(self.select.as_slice(), [only] if only.column.name == "*") && self.embeds.is_empty()
    }

    /// Something in it is an aggregate.
    pub fn aggregates(&self) -> bool {
        self.select.iter().any(|selection| selection.aggregate.is_some())
            || self.shown.iter().any(
                |shown| matches!(shown, Shown::Spread(columns) if columns.iter().any(|column| column.aggregate.is_some())),
            )
    }
}

/// Plans a request for a table or a function.
///
/// # Errors
/// [`Refusal`]
pub fn plan<'s>(schema: &'s Schema, request: &Request) -> Result<Plan<'s>, Refusal> {
    let (read, kind, of) = if request.action.is_call() {
        let function = find_function(schema, request)?;
        let of = Name::new(
            function.name.schema.clone(),
            function.returns.table().map_or(&function.name.name, |table| &table.name).clone(),
        );
        let read = read::plan(schema, request, function.returns.table().unwrap_or(&function.name), Some(function))?;
        let call = call::plan(function, request, &read);
        (read, Kind::Call(call), of)
    } else {
        let of = Name::new(request.schema.clone(), request.target.clone());
        let table = schema.table(&of).ok_or_else(|| no_table(schema, &of))?;
        let read = read::plan(schema, request, &of, None)?;
        let kind = match request.action {
            Action::Read => Kind::Read,
            _ => Kind::Write(write::plan(schema, request, table, &read)?),
        };
        (read, kind, of)
    };
    let (maker, media) = media::negotiate(schema, request, &of, read.selects_all())?;
    if request.prefer.strict == Some(true) && !request.prefer.unknown.is_empty() {
        return Err(refuse::bad_preferences(&request.prefer.unknown));
    }
    if let Kind::Call(call) = &kind
        && request.prefer.strict == Some(true)
        && request.prefer.max_affected.is_some()
        && !call.function.returns.set
    {
        return Err(refuse::max_affected_of_one());
    }
    // Of a write only what is asked for is read.
    let silent = request.head || (request.action.is_write() && request.prefer.returns != Some(Return::Representation));
    Ok(Plan { read, kind, maker: if silent { Maker::Nothing } else { maker }, media })
}
