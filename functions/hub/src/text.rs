//! What others wrote, made fit to be read: by people, on a terminal or in a conversation.

use std::fmt::Write as _;

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

/// Takes out what has no place in a text column or a message (NUL, control characters, terminal sequences) and shows as `‹U+202E›`
/// what a reader does not see: characters without width, changes of direction, tags. A carriage return ends a line, as it does on
/// a terminal. The characters are those of the database's `tamed`, and the interlinear ones: joiners stay where they join
/// (families, Persian and Indic letters), which is never behind ASCII.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut joins = false;
    let mut rest = text;
    loop {
        let plain = rest.bytes().position(|b| !matches!(b, b' '..=b'~' | b'\n' | b'\t')).unwrap_or(rest.len());
        if plain > 0 {
            out.push_str(&rest[..plain]);
            joins = false;
        }
        let mut chars = rest[plain..].chars();
        let Some(c) = chars.next() else { return out };
        rest = chars.as_str();
        match c {
            '\u{1b}' => rest = behind_sequence(rest),
            '\r' if rest.starts_with('\n') => {}
            '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                out.push('\n');
                joins = false;
            }
            c if c.is_control() => {}
            ZWNJ | ZWJ if joins => out.push(c),
            c if is_unseen(c) => write!(out, "‹U+{:04X}›", u32::from(c)).unwrap_or_default(),
            c => {
                out.push(c);
                joins = true;
            }
        }
    }
}

/// Whether a reader does not see it, or sees others in another order for it.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    matches!(c, ZWNJ | ZWJ | '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// What follows a terminal sequence, of which the escape character was read.
fn behind_sequence(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    // Parameters or intermediate characters, then one final character.
    let control = |begin: usize, parameters: std::ops::RangeInclusive<u8>| {
        let end = begin + bytes[begin..].iter().take_while(|b| parameters.contains(b)).count();
        if matches!(bytes.get(end), Some(b'0'..=b'~')) { &rest[end + 1..] } else { &rest[end..] }
    };
    match bytes.first() {
        Some(b'[') => control(1, b' '..=b'?'),
        // A string (a title, a link), to BEL or ESC \. One that is not ended does not take the lines that follow with it.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            match bytes.iter().position(|b| matches!(b, 7 | 0x1b | b'\n' | b'\r')) {
                Some(end) if bytes[end] == 7 => &rest[end + 1..],
                Some(end) => rest[end..].strip_prefix("\u{1b}\\").unwrap_or(&rest[end..]),
                None => "",
            }
        }
        Some(b' '..=b'~') => control(0, b' '..=b'/'),
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_that_a_text_column_can_not_hold_are_removed() {
        assert_eq!(clean("a\0b\u{1b}[1;31mred\u{1b}[0m\u{7}\u{1b}]0;title\u{7}x\r\ny\rz"), "abredx\ny\nz");
        assert_eq!(
            clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\ \u{1b}(Bplain\u{1b}Pq\u{1b}\\"),
            "link plain"
        );
        assert_eq!(clean("a\u{b}b\u{c}c\u{85}d\u{2028}e\u{2029}f"), "a\nb\nc\nd\ne\nf");
    }

    #[test]
    fn an_unended_sequence_takes_no_other_line_with_it() {
        assert_eq!(clean("\u{1b}]0;title\nnext"), "\nnext");
        assert_eq!(clean("\u{1b}[12\nnext\u{1b}"), "\nnext");
        assert_eq!(clean("\u{1b}ä"), "ä");
    }

    #[test]
    fn invisible_and_bidirectional_characters_are_shown_as_such() {
        assert_eq!(clean("if (\u{202e}admin\u{202c})"), "if (‹U+202E›admin‹U+202C›)");
        for c in "\u{ad}\u{61c}\u{200b}\u{200e}\u{200f}\u{202a}\u{202e}\u{2060}\u{2064}\u{2066}\u{2069}\u{206f}\u{feff}\u{fff9}\u{fffb}\u{e0001}\u{e0041}\u{e007f}"
            .chars()
        {
            assert_eq!(clean(&format!("a{c}b")), format!("a‹U+{:04X}›b", u32::from(c)));
            assert_eq!(clean(&format!("語{c}")), format!("語‹U+{:04X}›", u32::from(c)));
        }
    }

    #[test]
    fn joiners_are_shown_where_they_join_nothing() {
        assert_eq!(clean("pass\u{200d}word \u{200c}x"), "pass‹U+200D›word ‹U+200C›x");
        assert_eq!(clean("\u{200d}\u{200d}x"), "‹U+200D›‹U+200D›x");
        assert_eq!(clean("a\u{200b}\u{200d}"), "a‹U+200B›‹U+200D›");
    }

    #[test]
    fn what_people_write_with_stays() {
        for text in [
            "👩‍👩‍👧‍👦 ❤️‍🔥 1️⃣ 👍🏽 🇩🇪 🏳️‍🌈",
            "می‌خواهم نامه‌ای",
            "क्‍ष क्‌ष ശ്രീ ന്‍",
            "e\u{301} Z\u{351}\u{327} ไทย 한국어 עִבְרִית",
            "tabs\tand\nlines",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    const ODD: &str =
        "a語👩\u{1b}[]0;m\\\u{7}\0\r\n\t\u{85}\u{2028}\u{200b}\u{200c}\u{200d}\u{202e}\u{fe0f}\u{301}\u{e0041}";

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn cleaning_twice_changes_nothing_more(
            text in any::<String>(),
            odd in proptest::collection::vec(proptest::sample::select(ODD.chars().collect::<Vec<_>>()), 0..30),
        ) {
            let once = clean(&(text + &String::from_iter(odd)));
            prop_assert!(!once.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            prop_assert!(!once.chars().any(|c| is_unseen(c) && c != ZWJ && c != ZWNJ));
            prop_assert_eq!(clean(&once), once);
        }
    }
}
