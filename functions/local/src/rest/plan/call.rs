//! Which function is meant, and with which arguments it is called.

use super::{
    super::{
        refusal::Refusal,
        refuse,
        request::{Action, Request, body::Body, media::Media},
        schema::{Argument, Function, Link, Name, Schema, Volatility},
    },
    Node, similar,
};
use std::collections::{BTreeMap, BTreeSet};

/// A call.
#[derive(Debug)]
pub struct Call<'s> {
    /// The function.
    pub function: &'s Function,
    /// With what.
    pub arguments: Arguments<'s>,
    /// What of the result's rows is needed; nothing: all.
    pub columns: BTreeSet<String>,
    /// Nothing may be changed.
    pub read_only: bool,
}

/// How arguments reach a function.
#[derive(Debug)]
pub enum Arguments<'s> {
    /// There are none.
    None,
    /// The body is the only one, which has no name.
    Whole(&'s Argument),
    /// These are in the JSON body.
    Json(Vec<&'s Argument>),
    /// Each by itself; `variadic` ones several times.
    Texts(Vec<(&'s Argument, Vec<String>)>),
}

/// Finds the function by its name and the names of the arguments.
///
/// # Errors
/// There is none, or there are several.
pub fn find<'s>(schema: &'s Schema, request: &Request) -> Result<&'s Function, Refusal> {
    let name = Name::new(request.schema.clone(), request.target.clone());
    let names = argument_names(request);
    let (mut matching, mut taking_body) = (Vec::new(), Vec::new());
    let candidates = schema.functions(&name);
    for function in candidates {
        if matches(function, &names, request) {
            matching.push(function);
        } else if takes_body(function, request) {
            taking_body.push(function);
        }
    }
    match (matching.as_slice(), taking_body.as_slice()) {
        ([function], _) | ([], [function]) => Ok(function),
        ([], []) => Err(missing(schema, &name, &names, request, candidates)),
        ([], several) | (several, _) => {
            Err(refuse::several_functions(&several.iter().map(|function| signature(function)).collect::<Vec<_>>()))
        }
    }
}

fn argument_names(request: &Request) -> BTreeSet<String> {
    match request.action {
        Action::Call => request.columns.clone(),
        _ => request.query.arguments.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// Those that are required are there, and no other than those that are not.
fn matches(function: &Function, names: &BTreeSet<String>, request: &Request) -> bool {
    if function.arguments.is_empty() {
        let whole = matches!(request.content, Media::Octets | Media::Text | Media::Xml);
        return names.is_empty() && !(request.action == Action::Call && whole);
    }
    let is_argument = |name: &String| function.arguments.iter().any(|argument| argument.name == *name);
    names.iter().all(is_argument)
        && function.arguments.iter().all(|argument| !argument.required || names.contains(&argument.name))
}

fn takes_body(function: &Function, request: &Request) -> bool {
    let [argument] = function.arguments.as_slice() else { return false };
    argument.name.is_empty()
        && request.action == Action::Call
        && matches!(
            (&request.content, argument.full_type.as_str()),
            (Media::Json, "json" | "jsonb") | (Media::Text, "text") | (Media::Xml, "xml") | (Media::Octets, "bytea")
        )
}

fn signature(function: &Function) -> String {
    let arguments: Vec<String> =
        function.arguments.iter().map(|argument| format!("{} => {}", argument.name, argument.full_type)).collect();
    format!("{}({})", function.name, arguments.join(", "))
}

fn missing(
    schema: &Schema,
    name: &Name,
    names: &BTreeSet<String>,
    request: &Request,
    candidates: &[Function],
) -> Refusal {
    let posted = request.action == Action::Call;
    let listed = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let whole = match request.content {
        Media::Text if posted => Some("text"),
        Media::Xml if posted => Some("xml"),
        Media::Octets if posted => Some("bytea"),
        _ => None,
    };
    let with = if names.is_empty() { " without parameters".to_owned() } else { format!("({listed})") };
    let message = match whole {
        Some(_) => format!("Could not find the function {name} in the schema cache"),
        None => format!("Could not find the function {name}{with} in the schema cache"),
    };
    let parameters = match names.len() {
        0 => " without parameters".to_owned(),
        1 => format!(" with parameter {listed}"),
        _ => format!(" with parameters {listed}"),
    };
    let searched = match whole {
        Some(kind) => format!(" with a single unnamed {kind} parameter"),
        None if posted && request.content == Media::Json => {
            format!("{parameters} or with a single unnamed json/jsonb parameter")
        }
        None => parameters,
    };
    let details = format!("Searched for the function {name}{searched}, but no matches were found in the schema cache.");
    let perhaps = if whole.is_some() {
        None
    } else if candidates.is_empty() {
        let others =
            schema.functions.keys().filter(|other| other.schema == name.schema).map(|other| other.name.as_str());
        similar::of(others, &name.name, similar::LIKELY).map(|best| format!("{}.{best}", name.schema))
    } else {
        let lists: Vec<String> = candidates
            .iter()
            .map(|function| {
                let mut names: Vec<&str> = function.arguments.iter().map(|argument| argument.name.as_str()).collect();
                names.sort_unstable();
                format!("({})", names.join(", "))
            })
            .collect();
        similar::of(lists.iter().map(String::as_str), &format!("({listed})"), similar::POSSIBLE)
            .map(|best| format!("{name}{best}"))
    };
    let hint = perhaps.map(|perhaps| format!("Perhaps you meant to call the function {perhaps}"));
    refuse::no_function(message, details, hint)
}

/// The call of a function whose result is read like this.
pub fn plan<'s>(function: &'s Function, request: &Request, read: &Node<'_>) -> Call<'s> {
    Call {
        function,
        arguments: arguments(function, request),
        columns: needed(read, &[], true),
        read_only: request.action == Action::CallToRead || function.volatility != Volatility::Volatile,
    }
}

fn arguments<'s>(function: &'s Function, request: &Request) -> Arguments<'s> {
    if let [only] = function.arguments.as_slice()
        && only.name.is_empty()
    {
        return Arguments::Whole(only);
    }
    let given = argument_names(request);
    let named: Vec<&Argument> = function.arguments.iter().filter(|argument| given.contains(&argument.name)).collect();
    if named.is_empty() {
        return Arguments::None;
    }
    let pairs = match (&request.body, request.action) {
        (Body::Form(pairs), _) => pairs,
        (_, Action::Call) => return Arguments::Json(named),
        _ => &request.query.arguments,
    };
    // Of one that is no list the last value counts.
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        values.entry(name).or_default().push(value.clone());
    }
    let texts = named.into_iter().map(|argument| {
        let mut given = values.remove(argument.name.as_str()).unwrap_or_default();
        if !argument.variadic {
            given.drain(..given.len().saturating_sub(1));
        }
        (argument, given)
    });
    Arguments::Texts(texts.collect())
}

/// What of the rows that were written or returned the answer needs: what is selected, ordered and asked by, what embeds hang on, and `also`.
/// `*` alone stands for all.
pub fn needed(read: &Node<'_>, also: &[String], conditions: bool) -> BTreeSet<String> {
    let all = || BTreeSet::from(["*".to_owned()]);
    let mut names: BTreeSet<String> = read.select.iter().map(|selection| selection.column.name.clone()).collect();
    if names.contains("*") {
        return all();
    }
    for embed in &read.embeds {
        match embed.way.map(|way| &way.link) {
            // Which columns a function of the row looks at nobody knows.
            Some(Link::Computed { .. }) => return all(),
            Some(Link::ManyToOne(key) | Link::OneToMany(key) | Link::OneToOne { key, .. }) => {
                names.extend(key.columns.iter().map(|(from, _)| from.clone()));
            }
            Some(Link::ManyToMany(junction)) => {
                names.extend(junction.from_columns.iter().map(|(from, _)| from.clone()));
            }
            None => {}
        }
    }
    names.extend(also.iter().cloned());
    if conditions && !names.is_empty() {
        names.extend(read.conditions.iter().flat_map(|condition| condition.columns()).map(str::to_owned));
    }
    let ordered = read.order.iter().filter(|term| term.embed.is_none());
    if !names.is_empty() {
        names.extend(ordered.map(|term| term.column.name.clone()));
    }
    names
}
