//! What the database has for REST: tables, the ways between them, functions, types with a form of their own, settings.
//!
//! Everything is read at once and never changed; a change of the database is a new [`Schema`]. Types are the texts of
//! `format_type` and `regtype`, read with an empty search path: a type that is not Postgres' own is written with its schema.

mod load;
mod relationships;
mod settings;
mod tree;

use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

pub use load::{load, timezones};
pub use settings::{OpenApi, Settings, TxEnd};

/// A table, view, function or type with its schema. Displayed as `schema.name`, without quotes: for messages, never for SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The name in it.
    pub name: String,
}

impl Name {
    /// A name in a schema.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// All that was read at one moment.
#[derive(Debug, Default)]
pub struct Schema {
    /// Tables and views of the exposed schemas.
    pub tables: BTreeMap<Name, Table>,
    /// Ways from a table or view to another, by the one they begin at, in PostgREST's order. Both ends are in exposed schemas,
    /// junctions too. A computed relationship has taken the place of those that lead to a table of its function's name.
    pub relationships: HashMap<Name, Vec<Relationship>>,
    /// Functions of the exposed schemas, by name; of one name those with fewer arguments first.
    pub functions: BTreeMap<Name, Vec<Function>>,
    /// Casts between a domain and `json` or `text`: `(from, to)` to the name of the cast's function, as SQL text that is quoted
    /// where it must be.
    pub representations: HashMap<(String, String), String>,
    /// Who makes a media type of rows or of a function's result.
    pub handlers: HashMap<(Target, String), Handler>,
    /// Comments on the exposed schemas.
    pub descriptions: HashMap<String, String>,
    /// What `ALTER ROLE … SET` says of the roles that `authenticator` may become.
    pub roles: HashMap<String, RoleSettings>,
    /// What the role `authenticator` has as `pgrst.*`.
    pub settings: Settings,
}

impl Schema {
    /// A table or view.
    #[must_use]
    pub fn table(&self, name: &Name) -> Option<&Table> {
        self.tables.get(name)
    }

    /// The ways that begin at a table or view.
    #[must_use]
    pub fn relationships(&self, from: &Name) -> &[Relationship] {
        self.relationships.get(from).map_or(&[], Vec::as_slice)
    }

    /// The functions of one name.
    #[must_use]
    pub fn functions(&self, name: &Name) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
    }

    /// The function that turns a domain into `json` or `text`, or one of these into the domain; SQL text.
    #[must_use]
    pub fn representation(&self, from: &str, to: &str) -> Option<&str> {
        // Most databases have none, and this is asked for every column of every request.
        if self.representations.is_empty() {
            return None;
        }
        self.representations.get(&(from.to_owned(), to.to_owned())).map(String::as_str)
    }
}

/// A table, view, materialized view or foreign table. Partitions are not among them, their parents are.
#[derive(Debug, Clone)]
pub struct Table {
    /// Schema and name.
    pub name: Name,
    /// Its comment.
    pub description: Option<String>,
    /// Rows can be inserted; rights are another question.
    pub insertable: bool,
    /// Rows can be updated.
    pub updatable: bool,
    /// Rows can be deleted.
    pub deletable: bool,
    /// The columns of its primary key by name; of a view those that come from the keys of its tables.
    pub primary_key: Vec<String>,
    /// In the table's order.
    pub columns: Vec<Column>,
    /// Functions of one argument that is this table's row, and what a value of theirs is cast to: `t.name` in SQL is a call of
    /// it. Those that return rows are relationships instead.
    pub computed: BTreeMap<String, String>,
}

impl Table {
    /// A column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What a value for a column or a computed one is cast to; none if there is no such column: then Postgres says so.
    #[must_use]
    pub fn type_of(&self, name: &str) -> Option<&str> {
        self.column(name)
            .map(|column| column.cast_type.as_str())
            .or_else(|| self.computed.get(name).map(String::as_str))
    }
}

/// A column.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its comment.
    pub description: Option<String>,
    /// No `not null`, neither on the column nor on its domain.
    pub nullable: bool,
    /// The type without a length, of a domain over one of Postgres' types that type: `character varying`, `public.mood`.
    pub base_type: String,
    /// The type as declared: `character varying(20)`, `public.email`.
    pub full_type: String,
    /// The type to cast a text to that is compared or stored: of a domain the type below it, and none with a length, which would
    /// cut the text. SQL.
    pub cast_type: String,
    /// Of character types, in characters.
    pub max_length: Option<i32>,
    /// The expression, SQL text; `nextval(…)` of an identity `by default`.
    pub default: Option<String>,
    /// The labels of an enum in order, else empty.
    pub enum_values: Vec<String>,
}

/// A way from the rows of one table or view to rows of another. The order is that in which PostgREST lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relationship {
    /// Where it begins.
    pub from: Name,
    /// Where it leads.
    pub to: Name,
    /// Both are the same.
    pub is_self: bool,
    /// How rows are matched.
    pub link: Link,
    /// `from` is a view.
    pub from_is_view: bool,
    /// `to` is a view.
    pub to_is_view: bool,
}

/// How the rows of the two ends of a [`Relationship`] belong together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// `to` has the foreign key.
    OneToMany(Key),
    /// `from` has the foreign key.
    ManyToOne(Key),
    /// One of them has a foreign key that is unique as well.
    OneToOne {
        /// Its pairs of columns.
        key: Key,
        /// `to` has the foreign key.
        is_parent: bool,
    },
    /// A table between them has a foreign key to each.
    ManyToMany(Junction),
    /// A function of one row of `from` that returns rows of `to`.
    Computed {
        /// The function; its name is the target's name in a request.
        function: Name,
        /// It returns one row at most: no set, or `rows 1`.
        to_one: bool,
    },
}

/// A foreign key as a way between two tables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The constraint's name.
    pub constraint: String,
    /// Pairs: column of `from`, column of `to`.
    pub columns: Vec<(String, String)>,
}

/// The table between two others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Junction {
    /// The table, or a view of it.
    pub table: Name,
    /// The constraint towards `from`.
    pub from_constraint: String,
    /// The constraint towards `to`.
    pub to_constraint: String,
    /// Pairs: column of `from`, column of the junction.
    pub from_columns: Vec<(String, String)>,
    /// Pairs: column of `to`, column of the junction.
    pub to_columns: Vec<(String, String)>,
}

impl Relationship {
    /// At most one row of `to` for a row of `from`.
    #[must_use]
    pub fn is_to_one(&self) -> bool {
        matches!(self.link, Link::ManyToOne(_) | Link::OneToOne { .. } | Link::Computed { to_one: true, .. })
    }
}

/// A function that can be called: not one of a trigger, and at most one argument without a name, which then takes the body.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its `oid`.
    pub id: u32,
    /// Schema and name.
    pub name: Name,
    /// Its comment.
    pub description: Option<String>,
    /// What goes in, in order.
    pub arguments: Vec<Argument>,
    /// Columns of the result that are written in its head (`out`, `inout`, `returns table`) with their types; else empty, also
    /// where it returns a table's rows.
    pub columns: Vec<(String, String)>,
    /// What comes out.
    pub returns: Returns,
    /// `immutable`, `stable` or `volatile`.
    pub volatility: Volatility,
    /// Its `default_transaction_isolation`, which must be set before it is called.
    pub isolation: Option<String>,
    /// Those of its settings that must hold for the whole transaction (`db_hoisted_tx_settings`), with their values.
    pub settings: Vec<(String, String)>,
}

/// An argument of a function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Argument {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its type, for messages.
    pub full_type: String,
    /// What a value is cast to: as the type, but written so that `bit` and `character` do not cut it to one. SQL.
    pub cast_type: String,
    /// It has no default.
    pub required: bool,
    /// It is `variadic`; its type is the array's.
    pub variadic: bool,
}

/// What a function returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns {
    /// `setof …` or `table (…)`.
    pub set: bool,
    /// One value, or a row of columns (also `record` with `out` arguments or `returns table`).
    pub composite: bool,
    /// The type, a domain's base; of a composite its table, view or type, else `pg_catalog.record`.
    pub name: Name,
}

impl Returns {
    /// Nothing.
    #[must_use]
    pub fn is_void(&self) -> bool {
        !self.set && !self.composite && self.name.schema == "pg_catalog" && self.name.name == "void"
    }

    /// One value that is no row.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        !self.set && !self.composite
    }

    /// Values that are no rows.
    #[must_use]
    pub fn is_set_of_scalars(&self) -> bool {
        self.set && !self.composite
    }

    /// One row.
    #[must_use]
    pub fn is_row(&self) -> bool {
        !self.set && self.composite
    }

    /// The table, view or type whose rows it returns: where embeds begin.
    #[must_use]
    pub fn table(&self) -> Option<&Name> {
        self.composite.then_some(&self.name)
    }
}

/// What a function may do to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volatility {
    /// Anything; only by POST.
    Volatile,
    /// Reads; also by GET.
    Stable,
    /// Computes; also by GET.
    Immutable,
}

/// Of what a [`Handler`] makes a media type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Of any rows.
    Any,
    /// Of one table's rows, or of one function's result.
    Of(Name),
}

/// Makes a media type: an aggregate over rows, or a function that returns a domain which has the media type's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    /// The aggregate; none if the function's own result is it already.
    pub aggregate: Option<Name>,
    /// The `Content-Type` of the answer: of `*/*` it is `application/octet-stream`, unless the request's `response.headers` say more.
    pub media: String,
}

/// What `ALTER ROLE … SET` says of a role; set in each transaction, since `SET ROLE` does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleSettings {
    /// `default_transaction_isolation`.
    pub isolation: Option<String>,
    /// The others, by name: those that the role `authenticator` may set.
    pub values: Vec<(String, String)>,
}
