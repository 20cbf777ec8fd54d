//! The rows of a JSON body in SQL.

use super::{
    super::request::body::Body,
    sql::{Sql, literal},
};

/// A column or argument that is in a body.
pub struct Part<'p> {
    /// Its name.
    pub name: &'p str,
    /// Its type, SQL.
    pub kind: &'p str,
    /// What makes its value from JSON, SQL.
    pub transform: Option<&'p str>,
    /// What it is if the body does not say, SQL.
    pub default: Option<&'p str>,
}

/// `from …` that ends with `pgrst_body`, whose columns are the parts. With `defaults`, what a row does not say is as the parts say; `one`: of several
/// rows the first.
pub fn from(sql: &mut Sql, body: &Body, parts: &[Part<'_>], defaults: bool, one: bool) {
    let Body::Json(text) = body else {
        sql.push("from (select) pgrst_body");
        return;
    };
    let single = body.is_object();
    let kind = if defaults { "jsonb" } else { "json" };
    sql.push("from (select ").value(text, Some(kind)).push(" as json_data) pgrst_payload, ");
    if defaults {
        let said: Vec<String> = parts
            .iter()
            .filter_map(|part| part.default.map(|default| format!("{}, {default}", literal(part.name))))
            .collect();
        let said = format!("jsonb_build_object({})", said.join(", "));
        sql.push("lateral (select ");
        if single {
            sql.push(&said).push(" || pgrst_payload.json_data as val");
        } else {
            sql.push("jsonb_agg(")
                .push(&said)
                .push(" || elem) as val from jsonb_array_elements(pgrst_payload.json_data) elem");
        }
        sql.push(") pgrst_json_defs, ");
    }
    let source = if defaults { "pgrst_json_defs.val" } else { "pgrst_payload.json_data" };
    sql.push("lateral (select ");
    sql.each(", ", parts, |sql, part| {
        match part.transform {
            Some(transform) => sql.push(transform).push("(").ident(part.name).push(") as ").ident(part.name),
            None => sql.ident(part.name),
        };
    });
    sql.push(" from ");
    if !parts.is_empty() {
        sql.push(kind).push(if single { "_to_record(" } else { "_to_recordset(" }).push(source).push(") as _(");
        sql.each(", ", parts, |sql, part| {
            sql.ident(part.name).push(" ").push(if part.transform.is_some() { "json" } else { part.kind });
        });
        sql.push(")");
    } else if single {
        sql.push("(values (1)) _");
    } else {
        sql.push(kind).push("_array_elements(").push(source).push(") _");
    }
    if one {
        sql.push(" limit 1");
    }
    sql.push(") pgrst_body");
}
