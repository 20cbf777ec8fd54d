//! The way to what is embedded.

use super::{
    super::{
        refusal::Refusal,
        refuse,
        request::tree::Embed,
        schema::{Junction, Key, Link, Name, Relationship, Schema},
    },
    similar,
};
use serde_json::{Value, json};

/// Finds the one relationship that an embed can mean.
///
/// # Errors
/// There is none, or there are several.
pub fn find<'s>(schema: &'s Schema, exposed: &str, from: &Name, embed: &Embed) -> Result<&'s Relationship, Refusal> {
    let ways: Vec<&Relationship> = schema
        .relationships(from)
        .iter()
        .filter(|way| way.to.schema == exposed || matches!(way.link, Link::Computed { .. }))
        .filter(|way| leads(way, &embed.target, embed.hint.as_deref()))
        .collect();
    match ways.as_slice() {
        [way] => Ok(way),
        [] => {
            let perhaps = perhaps(schema, exposed, from, &embed.target);
            Err(refuse::no_relationship(&from.name, &embed.target, embed.hint.as_deref(), exposed, perhaps))
        }
        _ => {
            let hints: Vec<String> = ways.iter().map(|way| hint(way)).collect();
            Err(refuse::several_relationships(
                &from.name,
                &embed.target,
                ways.iter().map(|way| shown(way)).collect(),
                &hints,
            ))
        }
    }
}

fn leads(way: &Relationship, target: &str, hint: Option<&str>) -> bool {
    let (key, junction) = match &way.link {
        Link::Computed { function, .. } => return function.name == target,
        Link::ManyToOne(key) | Link::OneToMany(key) | Link::OneToOne { key, .. } => (Some(key), None),
        Link::ManyToMany(junction) => (None, Some(junction)),
    };
    let constraint = |name: &str| key.is_some_and(|key| key.constraint == name);
    let only = |key: &Key| match key.columns.as_slice() {
        [(from, to)] => Some((from.clone(), to.clone())),
        _ => None,
    };
    let columns = key.and_then(only);
    let from_column = |name: &str| columns.as_ref().is_some_and(|(from, _)| from == name);
    let to_column = |name: &str| columns.as_ref().is_some_and(|(_, to)| to == name);
    let by_name = target == way.to.name;
    if way.is_self {
        // One key is two ways between a table and itself: by its name to the many, by the column to the one.
        let many = matches!(way.link, Link::OneToMany(_));
        return match hint {
            None => (by_name && many) || (from_column(target) && matches!(way.link, Link::ManyToOne(_))),
            Some(hint) => by_name && many && to_column(hint),
        };
    }
    match hint {
        None => by_name || (!way.to_is_view && (constraint(target) || from_column(target))),
        Some(hint) => {
            let through = junction.is_some_and(|junction| junction.table.name == hint);
            by_name && (constraint(hint) || from_column(hint) || to_column(hint) || through)
        }
    }
}

fn list<'c>(columns: impl Iterator<Item = &'c String>) -> String {
    let names: Vec<&str> = columns.map(String::as_str).collect();
    format!("({})", names.join(", "))
}

/// One of several ways, for who has to choose.
fn shown(way: &Relationship) -> Value {
    let using = |key: &Key| {
        let from = list(key.columns.iter().map(|(from, _)| from));
        let to = list(key.columns.iter().map(|(_, to)| to));
        format!("{} using {}{from} and {}{to}", key.constraint, way.from.name, way.to.name)
    };
    let (cardinality, relationship) = match &way.link {
        Link::Computed { .. } => return json!({}),
        Link::ManyToOne(key) => ("many-to-one", using(key)),
        Link::OneToOne { key, .. } => ("one-to-one", using(key)),
        Link::OneToMany(key) => ("one-to-many", using(key)),
        Link::ManyToMany(junction) => {
            let from = list(junction.from_columns.iter().map(|(_, column)| column));
            let to = list(junction.to_columns.iter().map(|(_, column)| column));
            let Junction { table, from_constraint, to_constraint, .. } = junction;
            ("many-to-many", format!("{} using {from_constraint}{from} and {to_constraint}{to}", table.name))
        }
    };
    json!({
        "cardinality": cardinality,
        "embedding": format!("{} with {}", way.from.name, way.to.name),
        "relationship": relationship,
    })
}

fn hint(way: &Relationship) -> String {
    let by = match &way.link {
        Link::Computed { function, .. } => &function.name,
        Link::ManyToOne(key) | Link::OneToMany(key) | Link::OneToOne { key, .. } => &key.constraint,
        Link::ManyToMany(junction) => &junction.table.name,
    };
    format!("'{}!{by}'", way.to.name)
}

/// Another table that may have been meant: to begin at, if this one has no ways at all, or to go to. If there is one of this name, it is the hint that
/// is wrong.
fn perhaps(schema: &Schema, exposed: &str, from: &Name, target: &str) -> Option<String> {
    if !schema.relationships.contains_key(from) {
        let starts = schema.relationships.keys().filter(|name| name.schema == exposed);
        let best = similar::of(starts.map(|name| name.name.as_str()), &from.name, similar::POSSIBLE)?;
        return Some(format!("Perhaps you meant '{best}' instead of '{}'.", from.name));
    }
    let reachable = schema.relationships(from).iter().filter(|way| way.to.schema == exposed);
    let best = similar::of(reachable.map(|way| way.to.name.as_str()), target, similar::POSSIBLE)?;
    (best != target).then(|| format!("Perhaps you meant '{best}' instead of '{target}'."))
}
