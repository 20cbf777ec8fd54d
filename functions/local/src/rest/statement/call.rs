//! The call of a function.

use super::{
    super::{
        plan::{Arguments, Call},
        request::body::Body,
    },
    payload::{self, Part},
    sql::{Sql, array},
};

/// A call whose rows are the result's; a value that is no row is `pgrst_scalar`.
pub fn call(sql: &mut Sql, call: &Call<'_>, body: &Body) {
    let returns = &call.function.returns;
    let scalar = returns.is_scalar() || returns.is_set_of_scalars();
    sql.push("select ");
    if scalar {
        sql.push("pgrst_call.pgrst_scalar");
    } else if call.columns.is_empty() || call.columns.contains("*") {
        sql.push("pgrst_call.*");
    } else {
        sql.each(", ", &call.columns, |sql, column| {
            sql.push("pgrst_call.").ident(column);
        });
    }
    sql.push(" ");
    match &call.arguments {
        Arguments::Json(named) => {
            let parts: Vec<Part<'_>> = named
                .iter()
                .map(|argument| Part {
                    name: &argument.name,
                    kind: &argument.cast_type,
                    transform: None,
                    default: None,
                })
                .collect();
            payload::from(sql, body, &parts, false, true);
            sql.push(", lateral ");
        }
        _ => {
            sql.push("from ");
        }
    }
    if scalar {
        sql.push("(select ");
    }
    sql.name(&call.function.name).push("(");
    arguments(sql, call, body);
    sql.push(")");
    sql.push(if scalar { " pgrst_scalar) pgrst_call" } else { " pgrst_call" });
}

fn arguments(sql: &mut Sql, call: &Call<'_>, body: &Body) {
    match &call.arguments {
        Arguments::None => {}
        Arguments::Whole(argument) => match body {
            Body::Json(text) => {
                sql.value(text, Some(&argument.cast_type));
            }
            Body::Raw(bytes) if argument.full_type == "bytea" => {
                sql.bytes(bytes.clone());
            }
            Body::Raw(bytes) => {
                sql.value(&String::from_utf8_lossy(bytes), Some(&argument.cast_type));
            }
            Body::Form(_) | Body::None => {
                sql.push("null");
            }
        },
        Arguments::Json(named) => sql.each(", ", named, |sql, argument| {
            sql.push(if argument.variadic { "variadic " } else { "" });
            sql.ident(&argument.name).push(" := pgrst_body.").ident(&argument.name);
        }),
        Arguments::Texts(named) => sql.each(", ", named, |sql, (argument, values)| {
            sql.push(if argument.variadic { "variadic " } else { "" });
            sql.ident(&argument.name).push(" := ");
            match values.as_slice() {
                [value] if !argument.variadic => sql.value(value, Some(&argument.cast_type)),
                several => sql.value(&array(several), Some(&argument.cast_type)),
            };
        }),
    }
}
