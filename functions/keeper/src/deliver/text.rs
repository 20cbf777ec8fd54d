//! Text inside the limits of where it goes: split at lines, shortened, and embeds as Discord takes them. Lengths are UTF-16 units,
//! which is what Telegram counts, and never less than what Discord counts.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag};
use serde_json::{Map, Value, json};
use unicode_segmentation::UnicodeSegmentation;

const NO_WIDTH: char = '\u{200b}';
const FENCE: &str = "```";
/// What an open fence needs at the end of a part: a line of its own.
const CLOSE: usize = 4;
/// The longest name of a language that is repeated when a fence is opened again.
const LANGUAGE: usize = 20;

/// How long it is, in UTF-16 units.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The first `limit` units of it, in whole grapheme clusters: a family is not parted. One that is longer than that alone is cut
/// between its characters.
fn head(text: &str, limit: usize) -> &str {
    let end = fitting(text.grapheme_indices(true), limit);
    if end > 0 || text.is_empty() {
        return &text[..end];
    }
    &text[..fitting(text.char_indices().map(|(at, c)| (at, &text[at..at + c.len_utf8()])), limit)]
}

/// Where the first pieces end that have `limit` units together.
fn fitting<'t>(pieces: impl Iterator<Item = (usize, &'t str)>, limit: usize) -> usize {
    let (mut left, mut end) = (limit, 0);
    for (at, piece) in pieces {
        let Some(rest) = left.checked_sub(units(piece)) else { break };
        left = rest;
        end = at + piece.len();
    }
    end
}

/// Nobody is called by it: after the `@` of a mention stands a character of no width. With `markdown` code stays as it is, where an
/// `@` calls nobody and what is copied must be whole; what is written as an entity calls as well.
pub(super) fn unmentioned(text: &str, markdown: bool) -> String {
    let (mut code, mut entities) = (Vec::new(), Vec::new());
    if markdown {
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
        for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
            match event {
                Event::Code(_) | Event::Start(Tag::CodeBlock(_)) => code.push(range),
                Event::Text(said) if &*said == "@" && text[range.clone()].starts_with('&') => entities.push(range.end),
                _ => {}
            }
        }
    }
    let (mut code, mut entities) = (code.into_iter().peekable(), entities.into_iter().peekable());
    let mut before = ' ';
    let mut calm = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        calm.push(c);
        let behind = at + c.len_utf8();
        while code.next_if(|range: &Range<usize>| range.end <= at).is_some() {}
        let inside = code.peek().is_some_and(|range| range.contains(&at));
        let named = text[behind..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        // Behind a letter it is an address for mail, and in an address it is a part of it.
        let calls = c == '@' && !before.is_ascii_alphanumeric() && !in_address(&text[..at]);
        let entity = entities.next_if(|end| *end <= behind).is_some();
        if named && !inside && (calls || entity) {
            calm.push(NO_WIDTH);
        }
        before = c;
    }
    calm
}

/// Whether a text ends within an address such as `https://example.com/`.
fn in_address(text: &str) -> bool {
    let word = text.rfind(|c: char| c.is_whitespace() || matches!(c, '<' | '(' | '[' | '"')).map_or(0, |at| at + 1);
    text.get(word..).is_some_and(|word| word.contains("://"))
}

/// At most `limit` units of it; what was cut ends in an ellipsis.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    match limit {
        _ if units(text) <= limit => text.to_owned(),
        0 => String::new(),
        _ => format!("{}…", head(text, limit - 1).trim_end()),
    }
}

/// A part of a text: where it lies in it, and as it is sent.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    range: Range<usize>,
    sent: String,
}

/// Parts of at most `limit` units (of 100 and more), cut at ends of lines; a line that fits into no part is cut between words, a word
/// between characters. With `fences` a code block that is cut is closed and opened again. Blank parts are left out.
pub(super) fn split(text: &str, limit: usize, fences: bool) -> Vec<String> {
    parts(text, limit, fences).into_iter().map(|part| part.sent).filter(|part| !part.is_empty()).collect()
}

/// One message of it: the beginning, if it is longer.
pub(super) fn one(text: &str, limit: usize, fences: bool) -> String {
    if units(text) <= limit {
        return text.to_owned();
    }
    match split(text, limit - 2, fences).into_iter().next() {
        Some(first) => format!("{first}\n…"),
        None => String::new(),
    }
}

fn parts(text: &str, limit: usize, fences: bool) -> Vec<Part> {
    let mut found = Vec::new();
    let mut at = 0;
    // What opens again the block that the part before was cut in.
    let mut opening = String::new();
    while at < text.len() {
        let rest = &text[at..];
        let whole = finish(&opening, rest, fences);
        let (end, sent) = if units(&whole.0) <= limit {
            (text.len(), whole)
        } else {
            let end = at + cut(rest, limit - units(&opening) - if fences { CLOSE } else { 0 });
            let body = &text[at..end];
            (end, finish(&opening, body.strip_suffix('\n').unwrap_or(body), fences))
        };
        if text[at..end].trim().is_empty() {
            found.push(Part { range: at..end, sent: String::new() });
        } else {
            found.push(Part { range: at..end, sent: sent.0 });
            opening = sent.1;
        }
        at = end;
    }
    found
}

/// The part with its fences closed, and what opens the next one.
fn finish(opening: &str, body: &str, fences: bool) -> (String, String) {
    let part = format!("{opening}{body}");
    // Counted in what is sent, not in the text: whatever a cut did to a row of backticks, this part is balanced.
    if !fences || part.matches(FENCE).count() % 2 == 0 {
        return (part, String::new());
    }
    let open = part.match_indices(FENCE).last().map_or("", |(at, _)| &part[at + FENCE.len()..]);
    let language = open.split_once('\n').map_or("", |(line, _)| line);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_' | '#' | '.');
    let language = if language.len() <= LANGUAGE && language.chars().all(plain) { language } else { "" };
    let next = format!("{FENCE}{language}\n");
    let line = if part.ends_with('\n') { "" } else { "\n" };
    (format!("{part}{line}{FENCE}"), next)
}

/// Where to cut a text that is longer than `limit`: how many bytes stay, at least one character.
fn cut(text: &str, limit: usize) -> usize {
    let fits = head(text, limit);
    if let Some(at) = fits.rfind('\n').filter(|at| *at > 0) {
        let line = text[at + 1..].lines().next().unwrap_or("");
        // A short beginning and then a line that has to be cut anyway: that is filled up.
        if units(&fits[..at]) >= limit / 2 || units(line) <= limit {
            return at + 1;
        }
    }
    match fits.rfind(char::is_whitespace).filter(|at| units(&fits[..*at]) >= limit / 2) {
        Some(at) => at + fits[at..].chars().next().map_or(1, char::len_utf8),
        None => fits.len(),
    }
}

/// Discord's limits of an embed: <https://discord.com/developers/docs/resources/message#embed-object-embed-limits>.
const EMBEDS: usize = 10;
const TITLE: usize = 256;
const DESCRIPTION: usize = 4096;
const FIELDS: usize = 25;
const FIELD_NAME: usize = 256;
const FIELD_VALUE: usize = 1024;
const FOOTER: usize = 2048;
const ALL: usize = 6000;

/// The hub's embed (one, or a list) as Discord takes it, cut to its limits. What `text` says anyway is left out.
pub(super) fn embeds(embed: &Value, text: &str) -> Vec<Value> {
    let list = match embed {
        Value::Array(list) => list.as_slice(),
        Value::Object(_) => std::slice::from_ref(embed),
        _ => &[],
    };
    let mut left = ALL;
    list.iter().filter_map(|embed| one_embed(embed, text, &mut left)).take(EMBEDS).collect()
}

fn one_embed(embed: &Value, text: &str, left: &mut usize) -> Option<Value> {
    let mut take = |value: Option<&Value>, limit: usize| -> Option<String> {
        let value = value?.as_str()?.trim();
        let kept = shorten(value, limit.min(*left));
        *left -= units(&kept);
        Some(kept).filter(|kept| !kept.is_empty() && kept != "…")
    };
    let mut cut = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            cut.insert(name.to_owned(), value);
        }
    };
    put("title", take(embed.get("title"), TITLE).map(Value::from));
    let said = |description: &str| text.contains(description.trim_end_matches('…').trim());
    let description = embed.get("description").filter(|value| !value.as_str().is_some_and(said));
    // Last of all it may be cut: fields and footer are short and say more.
    let footer = embed.get("footer");
    let footer = take(footer.and_then(|footer| footer.get("text")).or(footer), FOOTER);
    let fields: Vec<Value> = embed
        .get("fields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(FIELDS)
        .filter_map(|field| {
            // Discord refuses the whole message for one empty name or value.
            let name = take(field.get("name"), FIELD_NAME)?;
            let value = take(field.get("value"), FIELD_VALUE)?;
            Some(json!({"name": name, "value": value, "inline": field.get("inline").and_then(Value::as_bool).unwrap_or(false)}))
        })
        .collect();
    put("description", take(description, DESCRIPTION).map(Value::from));
    put("fields", (!fields.is_empty()).then_some(Value::from(fields)));
    put("footer", footer.map(|text| json!({ "text": text })));
    if cut.is_empty() {
        return None;
    }
    let color = embed.get("color").and_then(Value::as_u64).filter(|color| *color <= 0xff_ffff);
    cut.extend(color.map(|color| ("color".to_owned(), color.into())));
    let moment = embed.get("timestamp").and_then(Value::as_str);
    let moment = moment.filter(|moment| chrono::DateTime::parse_from_rfc3339(moment).is_ok());
    cut.extend(moment.map(|moment| ("timestamp".to_owned(), moment.into())));
    Some(Value::Object(cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_short_text_is_one_part_and_a_long_one_is_cut_at_lines() {
        assert_eq!(split("hello", 100, true), ["hello"]);
        let line = "x".repeat(60);
        assert_eq!(split(&format!("{line}\n{line}\n{line}"), 130, true), [format!("{line}\n{line}"), line.clone()]);
        assert_eq!(split("", 100, true), Vec::<String>::new());
        assert_eq!(split(&"\n".repeat(300), 100, true), Vec::<String>::new());
    }

    #[test]
    fn a_line_that_fits_nowhere_is_cut_between_words_and_a_word_between_characters() {
        let words = "word ".repeat(50);
        let parts = split(&words, 104, true);
        assert!(parts.iter().all(|part| part.split_whitespace().all(|word| word == "word")), "{parts:?}");
        let faces = "😀".repeat(120);
        let parts = split(&faces, 101, false);
        assert_eq!(parts.iter().map(|part| units(part)).collect::<Vec<_>>(), [100, 100, 40]);
        assert_eq!(parts.concat(), faces);
    }

    #[test]
    fn no_grapheme_cluster_is_cut_in_two() {
        let family = "👨‍👩‍👧‍👦";
        let parts = split(&family.repeat(400), 4096, false);
        assert_eq!(parts.concat(), family.repeat(400));
        assert!(parts.iter().all(|part| part.ends_with('👦') && units(part) <= 4096), "{parts:?}");
        assert_eq!(shorten(&format!("a{family}b"), 9), "a…");
        assert_eq!(shorten("e\u{301}e\u{301}", 3), "e\u{301}…");
        assert_eq!(one(&"🇩🇪".repeat(40), 102, false), format!("{}\n…", "🇩🇪".repeat(25)));
        // One cluster that fits nowhere is cut all the same.
        assert_eq!(split(&format!("e{}", "\u{301}".repeat(250)), 100, false).len(), 3);
    }

    #[test]
    fn mentions_notify_nobody() {
        for (text, calm) in [
            ("thanks @ada, @acme/team and @a-b", "thanks @\u{200b}ada, @\u{200b}acme/team and @\u{200b}a-b"),
            ("mail a@example.com, (@x) _@y_", "mail a@example.com, (@\u{200b}x) _@\u{200b}y_"),
            ("`@ada` and ``@b ` @c`` @d", "`@ada` and ``@b ` @c`` @\u{200b}d"),
            ("```py\n@property\n```\n@e", "```py\n@property\n```\n@\u{200b}e"),
            ("> @ada\n\n| @b |\n|---|\n| `@c` @d |", "> @\u{200b}ada\n\n| @\u{200b}b |\n|---|\n| `@c` @\u{200b}d |"),
            ("`never closed @ada", "`never closed @\u{200b}ada"),
            ("&#64;ada &commat;b &#64; &amp;x", "&#64;\u{200b}ada &commat;\u{200b}b &#64; &amp;x"),
            ("    @code\n\n@ada @ @", "    @code\n\n@\u{200b}ada @ @"),
            (
                "<b>@ada</b> [x @y](https://example.com/@z)",
                "<b>@\u{200b}ada</b> [x @\u{200b}y](https://example.com/@z)",
            ),
        ] {
            assert_eq!(unmentioned(text, true), calm);
        }
        assert_eq!(unmentioned("`@ada` @b", false), "`@\u{200b}ada` @\u{200b}b");
    }

    #[test]
    fn a_code_block_is_closed_and_opened_again_with_its_language() {
        let code = format!("Look:\n```rust\n{}```\nDone.", "let x = 1;\n".repeat(20));
        let parts = split(&code, 120, true);
        assert!(parts.len() > 2);
        assert!(parts[0].starts_with("Look:\n```rust\n") && parts[0].ends_with("\n```"), "{parts:?}");
        assert!(parts[1].starts_with("```rust\nlet x = 1;") && parts[1].ends_with("\n```"), "{parts:?}");
        assert!(parts[parts.len() - 1].ends_with("Done."));
        // Plain text has no fences to care for.
        assert!(split(&code, 120, false).iter().all(|part| units(part) <= 120));
    }

    #[test]
    fn text_cut_to_one_message_keeps_the_beginning() {
        assert_eq!(one("short", 100, true), "short");
        let cut = one(&"word ".repeat(100), 100, true);
        assert!(units(&cut) <= 100 && cut.ends_with("\n…"), "{cut}");
    }

    proptest! {
        #[test]
        fn any_text_is_split_without_loss_within_the_limit_and_with_balanced_fences(
            pieces in proptest::collection::vec(prop_oneof![
                Just("```".to_owned()), Just("```rust\n".to_owned()), Just("\n".to_owned()), Just("````".to_owned()), Just(" ".to_owned()),
                "[a-z]{1,12}", "[a-z ]{1,80}", "\\PC{0,30}", "[a-z\n]{0,40}", Just("x".repeat(300)), Just("😀".repeat(90)),
            ], 0..60),
            limit in 100_usize..400,
            fences: bool,
        ) {
            let text = pieces.concat();
            let found = parts(&text, limit, fences);
            let mut at = 0;
            for part in &found {
                prop_assert_eq!(part.range.start, at);
                prop_assert!(part.range.end > at);
                at = part.range.end;
                prop_assert!(units(&part.sent) <= limit, "{} > {limit}: {:?}", units(&part.sent), part.sent);
                let body = text[part.range.clone()].trim_end_matches('\n');
                prop_assert!(part.sent.is_empty() == text[part.range.clone()].trim().is_empty());
                prop_assert!(part.sent.is_empty() || part.sent.contains(body));
                prop_assert!(!fences || part.sent.matches(FENCE).count() % 2 == 0, "{:?}", part.sent);
            }
            prop_assert_eq!(at, text.len());
            prop_assert!(units(&one(&text, limit, fences)) <= limit);
        }

        #[test]
        fn embeds_stay_within_discords_limits(
            title in "\\PC{0,400}", description in "\\PC{0,6000}", footer in "\\PC{0,3000}", count in 1_usize..14,
            fields in proptest::collection::vec(("\\PC{0,300}", "\\PC{0,1200}"), 0..30),
        ) {
            let fields: Vec<Value> = fields.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            let embed = json!({"title": title, "description": description, "footer": footer, "fields": fields, "color": 1});
            let found = embeds(&Value::from(vec![embed; count]), "");
            let mut all = 0;
            prop_assert!(found.len() <= EMBEDS);
            for embed in &found {
                let mut length = |value: &Value, limit: usize| {
                    let units = value.as_str().map_or(0, units);
                    all += units;
                    units <= limit
                };
                prop_assert!(length(&embed["title"], TITLE) && length(&embed["description"], DESCRIPTION) && length(&embed["footer"]["text"], FOOTER));
                let fields = embed["fields"].as_array().cloned().unwrap_or_default();
                prop_assert!(fields.len() <= FIELDS);
                for field in fields {
                    prop_assert!(length(&field["name"], FIELD_NAME) && length(&field["value"], FIELD_VALUE));
                    prop_assert!(field["name"] != "" && field["value"] != "");
                }
            }
            prop_assert!(all <= ALL);
        }
    }

    #[test]
    fn an_embed_does_not_repeat_the_text() {
        let embed = json!({"title": "Task Complete", "description": "Roses are red…", "color": 3_066_993, "footer": "Task 1",
            "fields": [{"name": "Model", "value": "claude", "inline": true}, {"name": "", "value": "x"}], "timestamp": "2026-11-20T10:00:00.000Z", "url": "x"});
        assert_eq!(
            embeds(&embed, "✅ done\nRoses are red, violets are blue"),
            [json!({"title": "Task Complete", "color": 3_066_993, "footer": {"text": "Task 1"},
                "fields": [{"name": "Model", "value": "claude", "inline": true}], "timestamp": "2026-11-20T10:00:00.000Z"})]
        );
        assert_eq!(embeds(&embed, "something else")[0]["description"], "Roses are red…");
        assert_eq!(embeds(&Value::Null, ""), Vec::<Value>::new());
        assert_eq!(embeds(&json!({"color": 1}), ""), Vec::<Value>::new());
    }
}
