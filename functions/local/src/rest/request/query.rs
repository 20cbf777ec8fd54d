//! The query string, taken apart.

use super::{
    cursor::{Cursor, Read},
    grammar::{self, Within},
    tree::{Filter, Item, Logic, Operator, Order, Quantifier, Range, Right, Test},
};
use crate::bounds::{COSTLY, depth, is_costly_pattern};
use std::collections::{BTreeMap, BTreeSet};

/// How deep a request may embed; clients go two or three levels down.
const DEPTH: usize = 8;

/// The names of embedded tables on the way to the one that something is meant for; empty for the request's own.
pub type Path = Vec<String>;

/// All that a query string says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Query {
    /// `select`.
    pub select: Vec<Item>,
    /// Conditions on columns.
    pub filters: Vec<(Path, Filter)>,
    /// `and` and `or`.
    pub logic: Vec<(Path, Logic)>,
    /// `order`.
    pub order: Vec<(Path, Vec<Order>)>,
    /// `limit` and `offset`; those of the request's own rows have an empty path.
    pub ranges: BTreeMap<Path, Range>,
    /// `columns`.
    pub columns: Option<BTreeSet<String>>,
    /// `on_conflict`.
    pub on_conflict: Option<Vec<String>>,
    /// What has no operator, where a function is called by GET: its arguments.
    pub arguments: Vec<(String, String)>,
    /// What the conditions are named, as written.
    pub filter_names: BTreeSet<String>,
    /// All of it once more, sorted by name.
    pub canonical: String,
}

/// Why a query string can not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which parameter, and where.
    pub message: String,
    /// What is there, and what should be.
    pub details: Option<String>,
}

/// Whole in parentheses: `failed to parse …`.
fn read<T>(what: &str, text: &str, parse: impl FnOnce(&mut Cursor<'_>) -> Read<T>) -> Result<T, Unreadable> {
    read_as(what, text, text, parse)
}

fn read_as<T>(
    what: &str,
    shown: &str,
    text: &str,
    parse: impl FnOnce(&mut Cursor<'_>) -> Read<T>,
) -> Result<T, Unreadable> {
    let mut cursor = Cursor::new(text);
    parse(&mut cursor).ok_or_else(|| {
        let stuck = cursor.stuck();
        let message = format!("\"failed to parse {what} ({shown})\" (line {}, column {})", stuck.line, stuck.column);
        Unreadable { message, details: Some(stuck.details) }
    })
}

impl Query {
    /// Reads a query string; `by_get` if it calls a function by GET, whose arguments are in it.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn parse(raw: &str, by_get: bool) -> Result<Self, Unreadable> {
        let pairs = pairs(raw);
        let canonical = canonical(&pairs);
        let given = || pairs.iter().filter_map(|(name, value)| value.as_deref().map(|value| (name.as_str(), value)));
        let first =
            |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.as_deref());

        let select = first("select").unwrap_or("*");
        if depth(select) > DEPTH {
            return Err(refused("it embeds deeper than eight levels"));
        }
        let mut query =
            Self { select: read("select parameter", select, grammar::select)?, canonical, ..Self::default() };
        if let Some(columns) = first("columns") {
            query.columns = Some(read("columns parameter", columns, grammar::names)?.into_iter().collect());
        }
        if let Some(names) = first("on_conflict") {
            query.on_conflict = Some(read("on_conflict parameter", names, grammar::names)?);
        }
        let mut limits = BTreeMap::new();
        let mut offsets = BTreeMap::new();
        for (name, value) in given() {
            match last_word(name) {
                "order" => {
                    let path = tree_path(name)?;
                    let terms = read("order", value, grammar::order)?;
                    if query.order.iter().all(|(other, _)| *other != path) {
                        query.order.push((path, terms));
                    }
                }
                "and" | "or" => {
                    let (path, word) = read("logic path", name, grammar::logic_path)?;
                    let whole = format!("{word}{value}");
                    let logic = read_as("logic tree", value, &whole, grammar::logic)?;
                    bounded_logic(&logic)?;
                    query.logic.push((path, logic));
                }
                "limit" => {
                    limits.insert(tree_path(name)?, value.parse::<i64>().ok());
                }
                "offset" => {
                    offsets.insert(tree_path(name)?, value.parse::<i64>().ok());
                }
                _ if matches!(name, "select" | "columns" | "on_conflict") => {}
                _ => query.condition(name, value, by_get)?,
            }
        }
        query.ranges = ranges(limits, offsets);
        Ok(query)
    }

    fn condition(&mut self, name: &str, value: &str, by_get: bool) -> Result<(), Unreadable> {
        let (path, field) = read("tree path", name, grammar::tree_path)?;
        // Of an operator's beginning nothing may have been read for it to be an argument.
        let begun = ["not.", "in.", "is."].iter().any(|begin| value.starts_with(begin));
        match read("filter", value, |cursor| grammar::test(cursor, Within::Parameter)) {
            Ok((not, test)) => {
                bounded(&test)?;
                self.filter_names.insert(name.to_owned());
                self.filters.push((path, Filter { field, not, test }));
            }
            Err(_) if by_get && !begun => self.arguments.push((field.name, value.to_owned())),
            Err(unreadable) => return Err(unreadable),
        }
        Ok(())
    }

    /// What is asked of the rows of the request's own table.
    pub fn range(&self) -> Range {
        self.ranges.get(&Path::new()).copied().unwrap_or(Range::ALL)
    }
}

fn last_word(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The names before the last word.
fn tree_path(name: &str) -> Result<Path, Unreadable> {
    read("tree path", name, grammar::tree_path).map(|(path, _)| path)
}

fn refused(why: &str) -> Unreadable {
    Unreadable { message: why.to_owned(), details: None }
}

/// On a machine that others use, too.
fn bounded(test: &Test) -> Result<(), Unreadable> {
    if let Test::Compare(Operator { right: Right::Regex, .. }, quantifier, pattern) = test {
        // In an array each backslash is written twice.
        let once = quantifier.map(|_: Quantifier| pattern.replace("\\\\", "\\"));
        if is_costly_pattern(pattern) || once.is_some_and(|pattern| is_costly_pattern(&pattern)) {
            return Err(refused(&format!("a pattern of match or imatch {COSTLY}")));
        }
    }
    Ok(())
}

fn bounded_logic(logic: &Logic) -> Result<(), Unreadable> {
    match logic {
        Logic::Filter(filter) => bounded(&filter.test),
        Logic::Group { of, .. } => of.iter().try_for_each(bounded_logic),
    }
}

fn ranges(limits: BTreeMap<Path, Option<i64>>, mut offsets: BTreeMap<Path, Option<i64>>) -> BTreeMap<Path, Range> {
    let mut ranges = BTreeMap::new();
    for (path, limit) in limits {
        let up_to = |limit: i64| Range { low: 0, high: Some(limit.saturating_sub(1)) };
        let range = match offsets.remove(&path) {
            None => limit.map_or(Range::ALL, up_to),
            Some(offset) => {
                let (offset, limit) = (offset.unwrap_or(0).max(0), limit.unwrap_or(0));
                Range { low: offset, high: Some(offset.saturating_add(limit).saturating_sub(1)) }
            }
        };
        ranges.insert(path, range);
    }
    for (path, offset) in offsets {
        ranges.insert(path, Range { low: offset.unwrap_or(0).max(0), high: None });
    }
    ranges
}

/// Names and values, decoded; a value is missing where there is no `=`.
pub fn pairs(raw: &str) -> Vec<(String, Option<String>)> {
    let pairs = raw.split(['&', ';']).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (decoded(name), Some(decoded(value))),
            None => (decoded(pair), None),
        })
        .collect()
}

/// A plus is a space, `%41` an A; what is not UTF-8 becomes the sign for that.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &tail[2..];
            }
            (b'+', ..) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Everything but letters, digits and `-_.~` as `%41`.
pub fn encoded(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            result.push(char::from(byte));
        } else {
            result.push('%');
            for half in [byte >> 4, byte & 15] {
                result.push(char::from_digit(half.into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    result
}

fn canonical(pairs: &[(String, Option<String>)]) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    let pairs: Vec<_> = sorted
        .into_iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value.as_deref().unwrap_or(""))))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
