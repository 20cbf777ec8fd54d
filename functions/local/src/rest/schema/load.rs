//! Reading a [`Schema`]: six questions in one snapshot, answered as JSON by Postgres.

use super::{
    Argument, Column, Function, Handler, Name, Returns, RoleSettings, Schema, Settings, Table, Target, Volatility,
    relationships::{self, Computed, Constraint, Kind, Referred, View},
    tree,
};
use serde::{Deserialize, de::DeserializeOwned};
use sqlx::{Connection, Error, PgConnection, Row};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Reads what the role of this connection has as settings, and everything in the schemas that these expose.
///
/// # Errors
/// What the database or the connection says.
pub async fn load(connection: &mut PgConnection) -> Result<Schema, Error> {
    let mut snapshot = connection.begin_with("begin isolation level repeatable read, read only").await?;
    // Names of types come with their schemas.
    sqlx::query("set local search_path = ''").execute(&mut *snapshot).await?;

    let read: SettingsRead = said(sqlx::query_scalar(include_str!("settings.sql")).fetch_one(&mut *snapshot).await?)?;
    let settings = Settings::read(&read.settings);
    let mut roles: HashMap<String, RoleSettings> = HashMap::new();
    for (role, name, value) in read.roles {
        let role = roles.entry(role).or_default();
        if name == ISOLATION {
            role.isolation = Some(value);
        } else {
            role.values.push((name, value));
        }
    }

    let (schemas, extra) = (&settings.schemas, &settings.extra_search_path);
    let tables =
        sqlx::query_scalar(include_str!("tables.sql")).bind(schemas).bind(extra).fetch_one(&mut *snapshot).await?;
    let keys = sqlx::query_scalar(include_str!("keys.sql")).fetch_one(&mut *snapshot).await?;
    let views = sqlx::query(include_str!("views.sql")).bind(schemas).bind(extra).fetch_all(&mut *snapshot).await?;
    let functions = sqlx::query_scalar(include_str!("functions.sql"))
        .bind(schemas)
        .bind(&settings.hoisted)
        .fetch_one(&mut *snapshot)
        .await?;
    let others = sqlx::query_scalar(include_str!("others.sql")).bind(schemas).fetch_one(&mut *snapshot).await?;
    snapshot.commit().await?;

    let tables: Vec<TableRead> = said(tables)?;
    let keys: Vec<KeyRead> = said(keys)?;
    let functions: Vec<FunctionRead> = said(functions)?;
    let others: OthersRead = said(others)?;
    let views = views
        .iter()
        .map(|row| {
            Ok(View {
                of: id(row.try_get("of")?)?,
                name: Name::new(row.try_get::<String, _>("schema")?, row.try_get::<String, _>("name")?),
                exposed: row.try_get("exposed")?,
                origins: tree::origins(row.try_get("tree")?),
                columns: row.try_get("columns")?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;

    let keys: Vec<Constraint> = keys.into_iter().map(KeyRead::constraint).collect();
    let computed: Vec<Computed> = others.computed.into_iter().map(ComputedRead::computed).collect();
    let (relationships, mut primary) = relationships::between(&keys, &views, &computed, schemas);
    let tables: BTreeMap<Name, Table> = tables
        .into_iter()
        .map(|read| {
            let name = Name::new(read.schema, read.name);
            let table = Table {
                description: read.description,
                insertable: read.insertable,
                updatable: read.updatable,
                deletable: read.deletable,
                primary_key: primary.remove(&name).unwrap_or_default(),
                columns: read.columns,
                computed: read.computed,
                name: name.clone(),
            };
            (name, table)
        })
        .collect();
    let mut by_name: BTreeMap<Name, Vec<Function>> = BTreeMap::new();
    for function in functions.into_iter().map(FunctionRead::function) {
        by_name.entry(function.name.clone()).or_default().push(function);
    }
    let mut handlers = HashMap::new();
    for read in others.handlers {
        let of = read.of.map_or(Target::Any, |(schema, name)| Target::Of(Name::new(schema, name)));
        let aggregate = read.aggregate.then(|| Name::new(read.schema, read.name));
        handlers.insert((of, read.asked), Handler { aggregate, media: read.said });
    }
    Ok(Schema {
        tables,
        relationships,
        functions: by_name,
        representations: others
            .representations
            .into_iter()
            .map(|(from, to, function)| ((from, to), function))
            .collect(),
        handlers,
        descriptions: others.descriptions,
        roles,
        settings,
    })
}

/// The time zones that a request may prefer. Postgres reads files for it, and they do not change while it runs.
///
/// # Errors
/// What the database or the connection says.
pub async fn timezones(connection: &mut PgConnection) -> Result<HashSet<String>, Error> {
    let names: Vec<String> =
        sqlx::query_scalar("select name from pg_catalog.pg_timezone_names").fetch_all(connection).await?;
    Ok(names.into_iter().collect())
}

const ISOLATION: &str = "default_transaction_isolation";

fn said<T: DeserializeOwned>(text: String) -> Result<T, Error> {
    serde_json::from_str(&text).map_err(|error| Error::Decode(error.into()))
}

fn id(oid: i64) -> Result<u32, Error> {
    u32::try_from(oid).map_err(|error| Error::Decode(error.into()))
}

#[derive(Deserialize)]
struct SettingsRead {
    settings: Vec<(String, String)>,
    roles: Vec<(String, String, String)>,
}

#[derive(Deserialize)]
struct TableRead {
    schema: String,
    name: String,
    description: Option<String>,
    insertable: bool,
    updatable: bool,
    deletable: bool,
    computed: BTreeMap<String, String>,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct KeyRead {
    of: u32,
    schema: String,
    table: String,
    name: String,
    kind: char,
    columns: Vec<(i16, String)>,
    to: Option<ReferredRead>,
}

#[derive(Deserialize)]
struct ReferredRead {
    of: u32,
    schema: String,
    table: String,
    columns: Vec<(i16, String)>,
    own: bool,
}

impl KeyRead {
    fn constraint(self) -> Constraint {
        Constraint {
            of: self.of,
            table: Name::new(self.schema, self.table),
            name: self.name,
            kind: match self.kind {
                'p' => Kind::Primary,
                'u' => Kind::Unique,
                _ => Kind::Foreign,
            },
            columns: self.columns,
            to: self.to.map(|to| Referred {
                of: to.of,
                table: Name::new(to.schema, to.table),
                columns: to.columns,
                own: to.own,
            }),
        }
    }
}

#[derive(Deserialize)]
struct FunctionRead {
    id: u32,
    schema: String,
    name: String,
    description: Option<String>,
    arguments: Vec<Argument>,
    columns: Vec<(String, String)>,
    set: bool,
    composite: bool,
    returns_schema: String,
    returns: String,
    volatility: char,
    settings: Vec<(String, String)>,
}

impl FunctionRead {
    fn function(mut self) -> Function {
        let isolation = self.settings.iter().find(|(name, _)| name == ISOLATION).map(|(_, value)| value.clone());
        self.settings.retain(|(name, _)| name != ISOLATION);
        Function {
            id: self.id,
            name: Name::new(self.schema, self.name),
            description: self.description,
            arguments: self.arguments,
            columns: self.columns,
            returns: Returns {
                set: self.set,
                composite: self.composite,
                name: Name::new(self.returns_schema, self.returns),
            },
            volatility: match self.volatility {
                'i' => Volatility::Immutable,
                's' => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            isolation,
            settings: self.settings,
        }
    }
}

#[derive(Deserialize)]
struct OthersRead {
    computed: Vec<ComputedRead>,
    representations: Vec<(String, String, String)>,
    handlers: Vec<HandlerRead>,
    descriptions: HashMap<String, String>,
}

#[derive(Deserialize)]
struct ComputedRead {
    schema: String,
    name: String,
    from: (String, String),
    to: (String, String),
    to_one: bool,
}

impl ComputedRead {
    fn computed(self) -> Computed {
        Computed {
            function: Name::new(self.schema, self.name),
            from: Name::new(self.from.0, self.from.1),
            to: Name::new(self.to.0, self.to.1),
            to_one: self.to_one,
        }
    }
}

#[derive(Deserialize)]
struct HandlerRead {
    asked: String,
    said: String,
    schema: String,
    name: String,
    aggregate: bool,
    of: Option<(String, String)>,
}
