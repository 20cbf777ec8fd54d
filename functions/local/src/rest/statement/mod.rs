//! The one statement of a request. Postgres writes the whole answer; here nothing is known of its values.

mod call;
mod condition;
mod payload;
mod rows;
pub mod sql;
mod write;

use super::{
    plan::{Kind, Maker, Plan, SOURCE},
    request::{
        Action, Request,
        media::Media,
        prefer::{Count, Return},
    },
    schema::{Function, Schema},
};
use sql::{Sql, literal};

/// The rows of which the answer is made, in the statement.
const ROWS: &str = "_postgrest_t";

/// A statement and what has to be known to read its one row.
#[derive(Debug)]
pub struct Statement {
    /// Its text and values. The columns of its row: how many rows there are in all, how many in the answer, where the new row is, the body,
    /// `response.headers`, `response.status`, how many rows were inserted. Of a plan the lines are.
    pub main: Sql,
    /// Asks the planner how many rows there are.
    pub guess: Option<Sql>,
}

/// The statement of a plan.
pub fn write(schema: &Schema, request: &Request, plan: &Plan<'_>) -> Statement {
    let mut sql = Sql::new();
    if let Media::Plan(how) = &plan.media {
        sql.push("explain (format ").push(if how.json { "json" } else { "text" });
        how.options.iter().for_each(|option| {
            sql.push(", ").push(option);
        });
        sql.push(") ");
    }
    sql.push("with ").push(SOURCE).push(" as (");
    match &plan.kind {
        Kind::Read => rows::select(&mut sql, &plan.read),
        Kind::Write(write) => write::write(&mut sql, write, &request.body),
        Kind::Call(call) => call::call(&mut sql, call, &request.body),
    }
    sql.push(") select ");
    total(&mut sql, schema, request, plan);
    let single = plan.function().is_some_and(|function| !function.returns.set);
    sql.push(if single { ", 1::bigint, " } else { ", pg_catalog.count(*), " });
    location(&mut sql, request, plan);
    sql.push(", ");
    body(&mut sql, plan);
    sql.push(", nullif(current_setting('response.headers', true), ''), nullif(current_setting('response.status', true), ''), ");
    let inserted = matches!(&plan.kind, Kind::Write(write) if write.counts_inserted());
    sql.push(if inserted { write::INSERTED } else { "null::int" });
    sql.push(" from (");
    match &plan.kind {
        // Nothing of what is selected is shown, and nothing of it was returned.
        Kind::Write(_) if plan.maker == Maker::Nothing => {
            sql.push("select * from ").push(SOURCE);
        }
        Kind::Read => {
            sql.push("select * from ").push(SOURCE);
        }
        Kind::Write(_) | Kind::Call(_) => rows::select(&mut sql, &plan.read),
    }
    sql.push(") ").push(ROWS);

    let guess = (plan.kind_is_read() && request.prefer.asks_planner()).then(|| {
        let mut sql = Sql::new();
        sql.push("explain (format json) ");
        rows::count(&mut sql, &plan.read);
        sql
    });
    Statement { main: sql, guess }
}

impl Plan<'_> {
    fn kind_is_read(&self) -> bool {
        matches!(self.kind, Kind::Read)
    }
}

/// How many rows there are, not only in this answer.
fn total(sql: &mut Sql, schema: &Schema, request: &Request, plan: &Plan<'_>) {
    if request.action.is_write() || !request.prefer.counts() {
        sql.push("null::bigint");
        return;
    }
    sql.push("(select pg_catalog.count(*) from (");
    rows::count(sql, &plan.read);
    if request.prefer.count == Some(Count::Estimated)
        && plan.kind_is_read()
        && let Some(most) = schema.settings.max_rows
    {
        // One more shows that there are more.
        sql.push(&format!(" limit {}", most.saturating_add(1)));
    }
    sql.push(") pgrst_source_count)");
}

/// Of one new row its key, as JSON pairs of a name and a condition.
fn location(sql: &mut Sql, request: &Request, plan: &Plan<'_>) {
    let Kind::Write(write) = &plan.kind else {
        sql.push("null::text");
        return;
    };
    let wanted = request.action == Action::Insert && request.prefer.returns == Some(Return::HeadersOnly);
    if !wanted || write.table.primary_key.is_empty() {
        sql.push("null::text");
        return;
    }
    sql.push("case when pg_catalog.count(*) = 1 then (select json_agg(json_build_array(key, coalesce('eq.' || value, 'is.null')))::text");
    sql.push(" from json_each_text((select row_to_json(_) from ").push(SOURCE).push(" _ limit 1)) where key in (");
    sql.each(", ", &write.table.primary_key, |sql, name| {
        sql.literal(name);
    });
    sql.push(")) end");
}

fn body(sql: &mut Sql, plan: &Plan<'_>) {
    let function = plan.function();
    let is = |what: fn(&Function) -> bool| function.is_some_and(what);
    let scalar = is(|function| function.returns.is_scalar());
    let value =
        if scalar || is(|function| function.returns.is_set_of_scalars()) { "_postgrest_t.pgrst_scalar" } else { ROWS };
    let one = scalar || is(|function| function.returns.is_row());
    let agg = |stripped: bool, first: bool| {
        let all = format!("json_agg({value}){}", if first { "->0" } else { "" });
        if stripped { format!("json_strip_nulls({all})") } else { all }
    };
    match &plan.maker {
        Maker::Nothing => sql.push("''::text"),
        Maker::Array { stripped } => {
            let empty = if one { "null" } else { "[]" };
            sql.push(&format!("coalesce({}, '{empty}')", agg(*stripped, one)))
        }
        // A set of scalars is a set of rows here.
        Maker::Object { stripped } if !scalar => {
            let all = format!("json_agg({ROWS})->0");
            let all = if *stripped { format!("json_strip_nulls({all})") } else { all };
            sql.push(&format!("coalesce({all}, 'null')"))
        }
        Maker::Object { stripped } => sql.push(&format!("coalesce({}, 'null')", agg(*stripped, true))),
        Maker::Csv => csv(sql),
        Maker::GeoJson => sql.push(&format!(
            "json_build_object('type', 'FeatureCollection', 'features', coalesce(json_agg(ST_AsGeoJSON({ROWS})::json), '[]'))"
        )),
        Maker::Handler { by, of } => match &by.aggregate {
            None => sql.push(value),
            Some(aggregate) => {
                sql.name(aggregate).push("(");
                match of {
                    _ if scalar => sql.push(value),
                    Some(of) => sql.push(ROWS).push("::").name(of),
                    None => sql.push(ROWS),
                };
                sql.push(")")
            }
        },
    };
}

/// A line of names if there is a row, and a line for each.
fn csv(sql: &mut Sql) -> &mut Sql {
    sql.push("(select coalesce(string_agg(name, ','), '') from (select case when key ~ '[\",\\n\\r]' then '\"' || replace(key, '\"', '\"\"') || '\"' else key end as name");
    sql.push(" from json_object_keys((select row_to_json(_) from (select * from ")
        .push(SOURCE)
        .push(" limit 1) _)) key) names)");
    sql.push(" || ").push(&literal("\n"));
    sql.push(" || coalesce(string_agg(substring(_postgrest_t::text, 2, length(_postgrest_t::text) - 2), ")
        .push(&literal("\n"));
    sql.push("), '')")
}

#[cfg(test)]
mod tests;
