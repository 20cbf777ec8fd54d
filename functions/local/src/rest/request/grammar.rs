//! The texts in a query string: `select`, filters, `and`/`or`, `order`, names.

use super::{
    cursor::{Cursor, END, Read},
    tree::{
        Aggregate, Embed, Field, Filter, Item, Key, Logic, Operator, Order, Quantifier, Right, Selected, Step, Test,
        Truth,
    },
};

/// How deep conditions may be nested.
const DEPTH: usize = 64;

const NAME: &str = "field name (* or [a..z0..9_$])";
const OPERATOR: &str = "operator (eq, gt, ...)";
const DELIMITER: &str = "delimiter (.)";
const COMMA: &str = "\",\"";
const OPEN: &str = "\"(\"";
const CLOSE: &str = "\")\"";

const OPERATORS: &[Operator] = &[
    operator("eq", "="),
    operator("neq", "<>"),
    operator("gt", ">"),
    operator("gte", ">="),
    operator("lt", "<"),
    operator("lte", "<="),
    Operator { word: "like", sql: "like", right: Right::Like },
    Operator { word: "ilike", sql: "ilike", right: Right::Like },
    Operator { word: "match", sql: "~", right: Right::Regex },
    Operator { word: "imatch", sql: "~*", right: Right::Regex },
    operator("cs", "@>"),
    operator("cd", "<@"),
    operator("ov", "&&"),
    operator("sl", "<<"),
    operator("sr", ">>"),
    operator("nxr", "&<"),
    operator("nxl", "&>"),
    operator("adj", "-|-"),
];

const fn operator(word: &'static str, sql: &'static str) -> Operator {
    Operator { word, sql, right: Right::Same }
}

/// `eq`, `gt` and their like compare with one value, or with any or all of an array.
fn can_be_quantified(operator: &Operator) -> bool {
    matches!(operator.word, "eq" | "gt" | "gte" | "lt" | "lte" | "like" | "ilike" | "match" | "imatch")
}

const SEARCHES: &[(&str, &str)] = &[
    ("fts", "to_tsquery"),
    ("plfts", "plainto_tsquery"),
    ("phfts", "phraseto_tsquery"),
    ("wfts", "websearch_to_tsquery"),
];

/// What is selected.
pub fn select(cursor: &mut Cursor<'_>) -> Read<Vec<Item>> {
    let mut items = Vec::new();
    cursor.spaces();
    if cursor.is_done() || cursor.peek() == Some(')') {
        return Some(items);
    }
    loop {
        cursor.spaces();
        items.push(item(cursor)?);
        cursor.spaces();
        if !cursor.eat(",") {
            return Some(items);
        }
    }
}

fn item(cursor: &mut Cursor<'_>) -> Read<Item> {
    if let Some(embed) = cursor.attempt(embed_head) {
        let mut embed = embed;
        cursor.token("(", OPEN)?;
        embed.items = select(cursor)?;
        cursor.token(")", CLOSE)?;
        return Some(Item::Embed(embed));
    }
    selected(cursor).map(Item::Field)
}

/// All of an embed up to its parenthesis.
fn embed_head(cursor: &mut Cursor<'_>) -> Read<Embed> {
    let spread = cursor.eat("...");
    let alias = if spread { None } else { alias(cursor) };
    let target = name(cursor)?;
    if target == "count" && !spread {
        return cursor.expect(NAME);
    }
    let mut embed = Embed { target, alias, hint: None, inner: false, spread, items: Vec::new() };
    let mut join = None;
    for _ in 0..2 {
        if !cursor.eat("!") {
            break;
        }
        if cursor.eat("left") {
            join = join.or(Some(false));
        } else if cursor.eat("inner") {
            join = join.or(Some(true));
        } else {
            let hint = name(cursor)?;
            embed.hint = embed.hint.or(Some(hint));
        }
    }
    embed.inner = join == Some(true);
    cursor.spaces();
    if cursor.peek() == Some('(') { Some(embed) } else { cursor.expect(OPEN) }
}

fn alias(cursor: &mut Cursor<'_>) -> Option<String> {
    cursor.attempt(|cursor| {
        let name = name(cursor)?;
        // Two of them are a cast.
        if cursor.rest().starts_with("::") {
            return None;
        }
        cursor.token(":", "\":\"")?;
        Some(name)
    })
}

fn selected(cursor: &mut Cursor<'_>) -> Read<Selected> {
    let star = |alias| Selected {
        field: Field { name: "*".into(), path: Vec::new() },
        aggregate: None,
        aggregate_cast: None,
        cast: None,
        alias,
    };
    if let Some(all) = cursor.attempt(|cursor| {
        cursor.token("*", NAME)?;
        end_of_item(cursor)?;
        Some(star(None))
    }) {
        return Some(all);
    }
    if let Some(count) = cursor.attempt(|cursor| {
        let alias = alias(cursor);
        if !cursor.eat("count()") {
            return None;
        }
        let aggregate_cast = cast(cursor)?;
        end_of_item(cursor)?;
        Some(Selected { aggregate: Some(Aggregate::Count), aggregate_cast, ..star(alias) })
    }) {
        return Some(count);
    }
    let alias = alias(cursor);
    let field = field(cursor)?;
    let cast_to = cast(cursor)?;
    let aggregate = aggregate(cursor);
    let aggregate_cast = if aggregate.is_some() { cast(cursor)? } else { None };
    end_of_item(cursor)?;
    Some(Selected { field, aggregate, aggregate_cast, cast: cast_to, alias })
}

fn end_of_item(cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.spaces();
    match cursor.peek() {
        None | Some(',' | ')') => Some(()),
        Some(_) => {
            cursor.expect::<()>(CLOSE);
            cursor.expect::<()>(COMMA);
            cursor.expect(END)
        }
    }
}

fn aggregate(cursor: &mut Cursor<'_>) -> Option<Aggregate> {
    cursor.attempt(|cursor| {
        cursor.token(".", "\".\"")?;
        let word = cursor.run(|char| char.is_ascii_lowercase());
        let aggregate = match word {
            "sum" => Aggregate::Sum,
            "avg" => Aggregate::Avg,
            "max" => Aggregate::Max,
            "min" => Aggregate::Min,
            "count" => Aggregate::Count,
            _ => return None,
        };
        cursor.token("()", "\"()\"")?;
        Some(aggregate)
    })
}

/// `::type`. What a type's name is made of stands in SQL as it is: letters, digits, `_`, `$` and spaces.
fn cast(cursor: &mut Cursor<'_>) -> Read<Option<String>> {
    if !cursor.eat("::") {
        return Some(None);
    }
    identifier(cursor).map(Some)
}

fn identifier(cursor: &mut Cursor<'_>) -> Read<String> {
    let name = cursor.run(is_of_identifier);
    if name.is_empty() {
        cursor.expect::<()>("letter");
        cursor.expect::<()>("digit");
        return None;
    }
    Some(name.trim().to_owned())
}

fn is_of_identifier(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | ' ' | '$')
}

/// A name, in quotes or of words between dashes.
pub fn name(cursor: &mut Cursor<'_>) -> Read<String> {
    cursor.labelled(NAME, |cursor| {
        if cursor.peek() == Some('"') {
            return quoted(cursor);
        }
        dashed(cursor, is_of_identifier, NAME)
    })
}

fn dashed(cursor: &mut Cursor<'_>, which: impl Fn(char) -> bool, label: &'static str) -> Read<String> {
    let mut whole = String::new();
    loop {
        let part = cursor.run(&which);
        if part.is_empty() {
            return cursor.expect(label);
        }
        whole.push_str(part.trim());
        if !cursor.rest().starts_with('-') || cursor.rest().starts_with("->") {
            return Some(whole);
        }
        cursor.bump();
        whole.push('-');
    }
}

fn quoted(cursor: &mut Cursor<'_>) -> Read<String> {
    cursor.token("\"", "\"\\\"\"")?;
    let mut text = String::new();
    loop {
        match cursor.bump() {
            Some('"') => return Some(text),
            Some('\\') => match cursor.bump() {
                Some(char) => text.push(char),
                None => return cursor.expect("\"\\\"\""),
            },
            Some(char) => text.push(char),
            None => return cursor.expect("\"\\\"\""),
        }
    }
}

/// A column and the way into it, with spaces around.
pub fn field(cursor: &mut Cursor<'_>) -> Read<Field> {
    cursor.spaces();
    let name = name(cursor)?;
    let path = path(cursor)?;
    cursor.spaces();
    Some(Field { name, path })
}

/// The arrows behind a column.
pub fn path(cursor: &mut Cursor<'_>) -> Read<Vec<Step>> {
    let mut steps = Vec::new();
    loop {
        let text = cursor.eat("->>");
        if !text && !cursor.eat("->") {
            return Some(steps);
        }
        steps.push(Step { text, to: key(cursor)? });
    }
}

fn key(cursor: &mut Cursor<'_>) -> Read<Key> {
    let index = cursor.attempt(|cursor| {
        let sign = if cursor.token("-", "\"-\"").is_some() { '-' } else { '+' };
        let digits = cursor.run(|char| char.is_ascii_digit());
        if digits.is_empty() {
            return cursor.expect("digit");
        }
        let rest = cursor.rest();
        let ends = rest.is_empty() || ["->", "::", ".", ","].iter().any(|end| rest.starts_with(end));
        ends.then(|| format!("{sign}{digits}"))
    });
    if let Some(index) = index {
        return Some(Key::Index(index));
    }
    if cursor.peek() == Some('"') {
        return quoted(cursor).map(Key::Name);
    }
    let of_key = |char| !matches!(char, '(' | '-' | ':' | '.' | ',' | '>' | ')');
    dashed(cursor, of_key, "any non reserved character different from: .,>()").map(Key::Name)
}

/// Names on the way to a column, and the column: `clients.projects.data->>a`.
pub fn tree_path(cursor: &mut Cursor<'_>) -> Read<(Vec<String>, Field)> {
    let mut names = names_between_dots(cursor)?;
    let name = names.pop()?;
    let path = path(cursor)?;
    Some((names, Field { name, path }))
}

fn names_between_dots(cursor: &mut Cursor<'_>) -> Read<Vec<String>> {
    let mut names = vec![name(cursor)?];
    while cursor.eat(".") {
        names.push(name(cursor)?);
    }
    Some(names)
}

/// Names between commas.
pub fn names(cursor: &mut Cursor<'_>) -> Read<Vec<String>> {
    let mut names = vec![name(cursor)?];
    loop {
        cursor.spaces();
        if !cursor.eat(",") {
            return Some(names);
        }
        cursor.spaces();
        names.push(name(cursor)?);
    }
}

/// `order`.
pub fn order(cursor: &mut Cursor<'_>) -> Read<Vec<Order>> {
    let mut terms = Vec::new();
    loop {
        cursor.spaces();
        terms.push(order_term(cursor)?);
        cursor.spaces();
        if !cursor.eat(",") {
            return Some(terms);
        }
    }
}

fn order_term(cursor: &mut Cursor<'_>) -> Read<Order> {
    let related = cursor.attempt(|cursor| {
        let relation = name(cursor)?;
        cursor.token("(", OPEN)?;
        let field = field(cursor)?;
        cursor.token(")", CLOSE)?;
        Some((relation, field))
    });
    let (relation, field) = match related {
        Some((relation, field)) => (Some(relation), field),
        None => (None, field(cursor)?),
    };
    let mut order = Order { relation, field, descending: None, nulls_first: None };
    if cursor.peek() == Some('.') {
        for (word, descending) in [(".asc", false), (".desc", true)] {
            if cursor.eat(word) {
                order.descending = Some(descending);
                break;
            }
        }
    }
    for (word, first) in [(".nullsfirst", true), (".nullslast", false)] {
        if cursor.eat(word) {
            order.nulls_first = Some(first);
            break;
        }
    }
    cursor.spaces();
    match cursor.peek() {
        None | Some(',') => Some(order),
        Some('.') => {
            cursor.bump();
            if order.descending.is_none() {
                cursor.expect::<()>("\"asc\"");
                cursor.expect::<()>("\"desc\"");
            }
            cursor.expect::<()>("\"nullsfirst\"");
            cursor.expect("\"nullslast\"")
        }
        Some(_) => {
            if order.nulls_first.is_none() {
                cursor.expect::<()>(DELIMITER);
            }
            cursor.expect::<()>(COMMA);
            cursor.expect(END)
        }
    }
}

/// Where a filter's value ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// With the text.
    Parameter,
    /// At the next comma or parenthesis.
    Group,
}

/// `not.eq.value` and its like; the bool is `not`.
pub fn test(cursor: &mut Cursor<'_>, within: Within) -> Read<(bool, Test)> {
    let not = cursor.eat("not.");
    if !not {
        cursor.expect::<()>("\"not\"");
    }
    let start = cursor.mark();
    let word = cursor.run(|char| char.is_ascii_lowercase());
    let operator = OPERATORS.iter().find(|operator| operator.word == word);
    let search = SEARCHES.iter().find(|search| search.0 == word).map(|search| search.1);
    if operator.is_none() && search.is_none() && !matches!(word, "in" | "is" | "isdistinct") {
        cursor.back(start);
        return cursor.expect(OPERATOR);
    }
    let mut quantifier = None;
    let mut config = None;
    if search.is_some() && cursor.eat("(") {
        config = Some(identifier(cursor)?);
        cursor.token(")", OPERATOR)?;
    } else if operator.is_some_and(can_be_quantified) && cursor.eat("(") {
        quantifier = Some(match cursor.run(|char| char.is_ascii_lowercase()) {
            "any" => Quantifier::Any,
            "all" => Quantifier::All,
            _ => return cursor.expect(OPERATOR),
        });
        cursor.token(")", OPERATOR)?;
    }
    if !cursor.eat(".") {
        return cursor.expect(OPERATOR);
    }
    let test = if let Some(operator) = operator {
        Test::Compare(*operator, quantifier, value(cursor, within))
    } else if let Some(function) = search {
        Test::Search { function, config, query: value(cursor, within) }
    } else if word == "in" {
        Test::In(list(cursor)?)
    } else if word == "is" {
        Test::Is(truth(cursor)?)
    } else {
        Test::Distinct(value(cursor, within))
    };
    Some((not, test))
}

fn truth(cursor: &mut Cursor<'_>) -> Read<Truth> {
    let words = [
        ("null", Truth::Null),
        ("not_null", Truth::NotNull),
        ("true", Truth::True),
        ("false", Truth::False),
        ("unknown", Truth::Unknown),
    ];
    for (word, truth) in words {
        if cursor.rest().get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word)) {
            for _ in word.chars() {
                cursor.bump();
            }
            return Some(truth);
        }
    }
    cursor.expect("isVal: (null, not_null, true, false, unknown)")
}

fn list(cursor: &mut Cursor<'_>) -> Read<Vec<String>> {
    cursor.spaces();
    cursor.token("(", OPEN)?;
    cursor.spaces();
    let mut values = Vec::new();
    loop {
        values.push(until_separator(cursor));
        if cursor.eat(",") {
            continue;
        }
        cursor.spaces();
        if cursor.eat(")") {
            cursor.spaces();
            return Some(values);
        }
        cursor.expect::<()>(COMMA);
        return cursor.expect(CLOSE);
    }
}

fn value(cursor: &mut Cursor<'_>, within: Within) -> String {
    if within == Within::Parameter {
        return cursor.take_rest().to_owned();
    }
    let array = cursor.attempt(|cursor| {
        let start = cursor.rest();
        cursor.token("{", "\"{\"")?;
        let inner = cursor.run(|char| !matches!(char, '{' | '}'));
        cursor.token("}", "\"}\"")?;
        Some(start[..inner.len() + 2].to_owned())
    });
    array.unwrap_or_else(|| until_separator(cursor))
}

/// A quoted value, or all up to the next comma or closing parenthesis.
fn until_separator(cursor: &mut Cursor<'_>) -> String {
    let quoted = cursor.attempt(|cursor| {
        let value = quoted(cursor)?;
        matches!(cursor.peek(), None | Some(',' | ')')).then_some(value)
    });
    quoted.unwrap_or_else(|| cursor.run(|char| !matches!(char, ',' | ')')).to_owned())
}

/// `and`, `or`, with `not.` and names of embedded tables before them: the names and how the value must begin to be whole.
pub fn logic_path(cursor: &mut Cursor<'_>) -> Read<(Vec<String>, String)> {
    let mut names = names_between_dots(cursor)?;
    let word = names.pop()?;
    let not = names.iter().any(|name| name == "not") || word == "not";
    names.retain(|name| name != "not");
    Some((names, if not { format!("not.{word}") } else { word }))
}

/// `and(a.eq.1,or(…))` or one condition.
pub fn logic(cursor: &mut Cursor<'_>) -> Read<Logic> {
    logic_within(cursor, 0)
}

fn logic_within(cursor: &mut Cursor<'_>, depth: usize) -> Read<Logic> {
    let filter = cursor.attempt(|cursor| {
        let field = field(cursor)?;
        cursor.token(".", DELIMITER)?;
        let (not, test) = test(cursor, Within::Group)?;
        Some(Filter { field, not, test })
    });
    if let Some(filter) = filter {
        return Some(Logic::Filter(filter));
    }
    let not = cursor.eat("not.");
    if !not {
        cursor.expect::<()>("negation operator (not)");
    }
    let all = cursor.eat("and");
    if !all && !cursor.eat("or") {
        return cursor.expect("logic operator (and, or)");
    }
    cursor.spaces();
    if depth >= DEPTH {
        return cursor.expect("fewer parentheses");
    }
    cursor.token("(", OPEN)?;
    let mut of = Vec::new();
    loop {
        cursor.spaces();
        of.push(logic_within(cursor, depth + 1)?);
        cursor.spaces();
        if cursor.eat(",") {
            continue;
        }
        if cursor.eat(")") {
            cursor.spaces();
            return Some(Logic::Group { not, all, of });
        }
        cursor.expect::<()>(COMMA);
        return cursor.expect(CLOSE);
    }
}
