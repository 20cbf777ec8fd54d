//! The query string as `postrust-server` reads it, from the one PostgREST's clients write.

use crate::bounds::{depth, is_costly_pattern};
use axum::body::Bytes;
use serde_json::Value;
use std::{borrow::Cow, fmt::Write};

/// The arguments without those that are null, and the names of these; none if there are none. (A null in an argument without a default can not be
/// said at all: PGRST202.)
pub fn nulls(body: &[u8]) -> Option<(Bytes, Vec<String>)> {
    if !body.windows(4).any(|four| four == b"null") {
        return None;
    }
    let Ok(Value::Object(mut named)) = serde_json::from_slice::<Value>(body) else { return None };
    let nulls: Vec<String> = named.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.clone()).collect();
    named.retain(|_, value| !value.is_null());
    (!nulls.is_empty()).then(|| (Value::Object(named).to_string().into(), nulls))
}

/// Why a question is too much for a machine that others use, too.
pub fn too_much(raw: &str) -> Option<&'static str> {
    raw.split('&').find_map(|pair| {
        let text = decoded(pair);
        if text.contains("match.") && is_costly_pattern(text.split_once("match.").map_or("", |(_, pattern)| pattern)) {
            Some("a pattern of match or imatch has a back-reference, or is longer than 500 bytes")
        } else if text.starts_with("select=") && depth(&text) > super::DEPTH {
            Some("it embeds deeper than eight levels")
        } else {
            None
        }
    })
}

/// Mends B1 (`+` is a space) and B2 (quoted names in `columns`, `on_conflict` and `order`). Everything else stays as it was, byte
/// for byte.
pub fn query(raw: &str) -> String {
    let mut mended = String::with_capacity(raw.len() + 16);
    for pair in raw.split('&') {
        if !mended.is_empty() {
            mended.push('&');
        }
        // A literal plus is written %2B, so each of these is a space.
        let pair = pair.replace('+', "%20");
        match pair.split_once('=') {
            Some((key, value)) => {
                mended.push_str(key);
                mended.push('=');
                mended.push_str(&names(&decoded(key), value));
            }
            None => mended.push_str(&pair),
        }
    }
    mended
}

/// `value` of a parameter that lists names, with quotes taken off the names that need none.
fn names<'v>(key: &str, value: &'v str) -> Cow<'v, str> {
    let structure: &[char] = match key {
        "columns" | "on_conflict" => &[',', '"', '\\'],
        // Its names end at these.
        _ if key == "order" || key.ends_with(".order") => &[',', '"', '\\', '.', '(', ')', '-', '>'],
        _ => return Cow::Borrowed(value),
    };
    let text = decoded(value);
    if !text.contains('"') {
        return Cow::Borrowed(value);
    }
    Cow::Owned(encoded(&unquoted(&text, structure)))
}

/// Takes the quotes off names that hold none of `structure`, and leaves the others as they are: without their quotes they would
/// mean something else.
fn unquoted(text: &str, structure: &[char]) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    let mut name_may_begin = true;
    while let Some(first) = rest.chars().next() {
        if first == '"'
            && name_may_begin
            && let Some((name, quoted, after)) = quoted_name(rest)
        {
            let plain = !name.is_empty() && name.trim() == name && !name.contains(structure);
            result.push_str(if plain { &name } else { quoted });
            rest = after;
            name_may_begin = false;
            continue;
        }
        result.push(first);
        name_may_begin = matches!(first, ',' | '(') || (first == ' ' && name_may_begin);
        rest = &rest[first.len_utf8()..];
    }
    result
}

/// A double-quoted name at the beginning: itself, as it was written, and what follows.
fn quoted_name(text: &str) -> Option<(String, &str, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.push(characters.next()?.1),
            '"' => return Some((name, &text[..=at], &text[at + 1..])),
            other => name.push(other),
        }
    }
    None
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| {
            let digits =
                std::str::from_utf8(hex).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        });
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn encoded(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b',' | b'(' | b')' | b'*' | b':' => {
                result.push(char::from(byte));
            }
            other => {
                let _ = write!(result, "%{other:02X}");
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b1_a_plus_is_a_space_and_an_escaped_plus_is_not() {
        assert_eq!(query("name=eq.a+b&note=eq.1%2B1"), "name=eq.a%20b&note=eq.1%2B1");
        assert_eq!(query("first+name=eq.x"), "first%20name=eq.x");
    }

    #[test]
    fn b2_needless_quotes_are_removed() {
        assert_eq!(query("columns=%22id%22%2C%22content%22"), "columns=id,content");
        assert_eq!(query("columns=\"id\",\"content\""), "columns=id,content");
        assert_eq!(query("on_conflict=%22server_id%22,name"), "on_conflict=server_id,name");
        assert_eq!(query("order=%22seq%22.desc.nullslast,id.asc"), "order=seq.desc.nullslast,id.asc");
        assert_eq!(query("messages.order=%22seq%22.desc"), "messages.order=seq.desc");
        assert_eq!(query("order=channel(%22name%22).asc"), "order=channel(name).asc");
        assert_eq!(query("order=%22data%22->>a.asc"), "order=data-%3E%3Ea.asc");
        assert_eq!(query("columns=%22first name%22"), "columns=first%20name");
        assert_eq!(query("columns=%22na%C3%AFve%22"), "columns=na%C3%AFve");
    }

    #[test]
    fn b2_needed_quotes_stay() {
        assert_eq!(query("order=%22a.b%22.desc"), "order=%22a.b%22.desc");
        assert_eq!(query("columns=%22a,b%22,%22c%22"), "columns=%22a,b%22,c");
        assert_eq!(query("columns=%22a%5C%22b%22"), "columns=%22a%5C%22b%22");
        assert_eq!(query("columns=%22%22,x"), "columns=%22%22,x");
        assert_eq!(query("columns=%22open"), "columns=%22open");
        assert_eq!(query("name=eq.%22quoted%22&select=%22id%22"), "name=eq.%22quoted%22&select=%22id%22");
    }

    #[test]
    fn odd_queries_pass_through() {
        assert_eq!(query(""), "");
        assert_eq!(query("a&b=&=c&order=%zz\""), "a&b=&=c&order=%25zz%22");
        assert_eq!(query("columns=id"), "columns=id");
    }

    #[test]
    fn any_query_is_handled_without_a_panic() {
        // Every mix of the characters that mean something, up to five long.
        let alphabet = ["\"", "\\", ",", ".", "(", "é", "a", "%22", "+", "="];
        let mut texts = vec![String::new()];
        for _ in 0..4 {
            texts = texts.iter().flat_map(|text| alphabet.iter().map(move |next| format!("{text}{next}"))).collect();
            for text in &texts {
                let once = query(&format!("order={text}"));
                assert_eq!(query(&once), once, "mending twice changes nothing more: {text}");
            }
        }
    }

    #[test]
    fn only_null_arguments_are_left_out() {
        let (body, names) = nulls(br#"{"a": null, "b": "null", "c": {"d": null}}"#).unwrap();
        assert_eq!((&body[..], names), (&br#"{"b":"null","c":{"d":null}}"#[..], vec!["a".to_owned()]));
        for text in [r#"{"a": "null"}"#, "[null]", "null", r#"{"a": nul"#, ""] {
            assert_eq!(nulls(text.as_bytes()), None);
        }
    }

    #[test]
    fn costly_patterns_and_deep_embeds_are_refused() {
        for much in ["name=match.(x%2B)%2B%5C1", "or=(a.eq.1,b.imatch.(a)%5C1)", "select=a(b(c(d(e(f(g(h(i(j)))))))))"]
        {
            assert!(too_much(much).is_some(), "{much}");
        }
        for fine in ["name=match.%5E%5Cd", "select=*,a(b(c))", "name=eq.match%5C1", "or=(a.eq.1,b.match.x)", ""] {
            assert!(too_much(fine).is_none(), "{fine}");
        }
    }
}
