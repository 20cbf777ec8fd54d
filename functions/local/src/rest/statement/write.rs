//! `insert`, `update` and `delete`.

use super::{
    super::{
        plan::{Condition, Write},
        request::{Action, body::Body},
    },
    condition::condition,
    payload::{self, Part},
    sql::{Sql, ident, name},
};

/// How many rows were inserted: each row counts one when it is about to be, and is taken off again when it is changed instead. A view does not tell otherwise.
pub const INSERTED: &str = "nullif(current_setting('pgrst.inserted', true), '')::int";

/// A write.
pub fn write(sql: &mut Sql, write: &Write<'_>, body: &Body) {
    match write.action {
        Action::Delete => {
            sql.push("delete from ").name(&write.table.name);
            conditions(sql, &name(&write.table.name), &write.conditions, false);
            returning(sql, write);
        }
        Action::Update => update(sql, write, body),
        _ => insert(sql, write, body),
    }
}

fn parts<'w>(write: &'w Write<'_>) -> Vec<Part<'w>> {
    let part = |(column, transform): &(&'w super::super::schema::Column, Option<&'w str>)| Part {
        name: &column.name,
        kind: &column.full_type,
        transform: *transform,
        default: column.default.as_deref(),
    };
    write.columns.iter().map(part).collect()
}

fn insert(sql: &mut Sql, write: &Write<'_>, body: &Body) {
    sql.push("insert into ").name(&write.table.name);
    if !write.columns.is_empty() {
        sql.push("(");
        sql.each(", ", &write.columns, |sql, (column, _)| {
            sql.ident(&column.name);
        });
        sql.push(")");
    }
    sql.push(" select ");
    sql.each(", ", &write.columns, |sql, (column, _)| {
        sql.push("pgrst_body.").ident(&column.name);
    });
    sql.push(" ");
    payload::from(sql, body, &parts(write), write.defaults, false);
    let counts = write.counts_inserted();
    if counts {
        sql.push(" where ");
        counted(sql, '+');
    }
    conditions(sql, "pgrst_body", &write.conditions, counts);
    if let Some(conflict) = write.conflict.as_ref().filter(|conflict| !conflict.columns.is_empty()) {
        sql.push(" on conflict (");
        sql.each(", ", &conflict.columns, |sql, column| {
            sql.ident(column);
        });
        sql.push(") do ");
        if conflict.merge && !write.columns.is_empty() {
            sql.push("update set ");
            sql.each(", ", &write.columns, |sql, (column, _)| {
                sql.ident(&column.name).push(" = excluded.").ident(&column.name);
            });
            sql.push(" where ");
            counted(sql, '-');
        } else {
            sql.push("nothing");
        }
    }
    returning(sql, write);
}

/// Counts, and is always true.
fn counted(sql: &mut Sql, sign: char) {
    sql.push("set_config('pgrst.inserted', (coalesce(")
        .push(INSERTED)
        .push(&format!(", 0) {sign} 1)::text, true) is not null"));
}

fn update(sql: &mut Sql, write: &Write<'_>, body: &Body) {
    let table = name(&write.table.name);
    if write.columns.is_empty() {
        // Nothing to set: no row, but one with the columns that are asked for.
        sql.push("select ");
        if write.returning.is_empty() {
            sql.push("null");
        } else {
            columns(sql, &ident(&write.table.name.name), write);
        }
        sql.push(" from ").push(&table).push(" where false");
        return;
    }
    sql.push("update ").push(&table).push(" set ");
    sql.each(", ", &write.columns, |sql, (column, _)| {
        sql.ident(&column.name).push(" = pgrst_body.").ident(&column.name);
    });
    sql.push(" ");
    payload::from(sql, body, &parts(write), write.defaults, false);
    conditions(sql, &table, &write.conditions, false);
    returning(sql, write);
}

fn conditions(sql: &mut Sql, of: &str, conditions: &[Condition], begun: bool) {
    for (at, asked) in conditions.iter().enumerate() {
        sql.push(if at == 0 && !begun { " where " } else { " and " });
        // What is embedded in the answer is not there yet.
        condition(sql, of, asked, &mut |sql, _, lateral| {
            sql.ident(lateral).push(" is null");
        });
    }
}

fn returning(sql: &mut Sql, write: &Write<'_>) {
    sql.push(" returning ");
    if write.returning.is_empty() {
        sql.push("1");
    } else {
        columns(sql, &name(&write.table.name), write);
    }
}

fn columns(sql: &mut Sql, of: &str, write: &Write<'_>) {
    sql.each(", ", &write.returning, |sql, column| {
        sql.push(of).push(".");
        match column.as_str() {
            "*" => sql.push("*"),
            name => sql.ident(name),
        };
    });
}
