//! What programs print, made fit for a conversation and bounded in memory.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use hub::text::clean;
use memchr::{memchr, memrchr2};
use unicode_segmentation::GraphemeCursor;

use crate::redact::Redactor;

/// A message has at most 100,000 characters. Above a result stands a line with the names of an agent and a device, 63 each at most.
pub(crate) const RESULT: usize = 100_000 - 200;
/// A line is cut after this many bytes; the rest of it is not kept.
const LINE: usize = 4096;
/// So many lines of a chunk are looked at, from its end, for one that says something.
const LOOKED_AT: usize = 64;
/// A note has at most this many characters.
const NOTE: usize = 500;
/// Above what is only the end of a text.
pub(crate) const CUT: &str = "(The beginning is cut off.)\n";
/// What people see as one sign may be so many characters; a longer heap is cut inside. The database's `head` has the same bound.
const SIGN: usize = 32;

/// One line for people: cleaned, on one line, cut.
pub(crate) fn note(text: &str) -> String {
    short_line(&clean(text))
}

/// The same of what is clean already.
pub(crate) fn short_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let head = head(&line, NOTE);
    if head.len() < line.len() { format!("{head}…") } else { line }
}

/// The first so many characters at most, with no sign in two that people see as one.
pub(crate) fn head(text: &str, limit: usize) -> &str {
    let Some((at, _)) = text.char_indices().nth(limit) else { return text };
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    let end = match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten().unwrap_or(at),
        _ => at,
    };
    if text[end..at].chars().count() > SIGN { &text[..at] } else { &text[..end] }
}

/// The last so many characters at most, likewise.
fn tail(text: &str, limit: usize) -> &str {
    let Some((before, c)) = text.char_indices().rev().nth(limit) else { return text };
    let at = before + c.len_utf8();
    let mut cursor = GraphemeCursor::new(at, text.len(), true);
    let start = match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.next_boundary(text, 0).ok().flatten().unwrap_or(at),
        _ => at,
    };
    if text[at..start].chars().count() > SIGN { &text[at..] } else { &text[start..] }
}

/// A text of at most `limit` characters: if it is longer, or was `cut` before, its end, which says so.
pub(crate) fn ending(text: &str, limit: usize, cut: bool) -> Cow<'_, str> {
    if !cut && text.char_indices().nth(limit).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{CUT}{}", tail(text, limit.saturating_sub(CUT.len()))))
}

/// The last so many characters of a stream, without secrets. More than that is kept, so that a secret at the cut is known to be one.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    /// In characters.
    limit: usize,
    cut: bool,
    redactor: Arc<Redactor>,
}

impl Tail {
    pub(crate) fn new(limit: usize, redactor: &Arc<Redactor>) -> Self {
        Self { bytes: VecDeque::new(), limit, cut: false, redactor: Arc::clone(redactor) }
    }

    /// So many bytes are kept at most: a character has four at most.
    pub(crate) fn room(&self) -> usize {
        self.limit * 4 + self.redactor.reach()
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let room = self.room();
        let over = (self.bytes.len() + chunk.len()).saturating_sub(room);
        self.cut |= over > 0;
        if chunk.len() >= room {
            self.bytes.clear();
            self.bytes.extend(&chunk[chunk.len() - room..]);
        } else {
            self.bytes.drain(..over);
            self.bytes.extend(chunk);
        }
    }

    /// As text, cleaned, without secrets, trimmed, and saying so if it is only the end.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.bytes.as_slices();
        let bytes = [front, back].concat();
        let start = if self.cut { whole_character(&bytes, 0) } else { 0 };
        let text = clean(&String::from_utf8_lossy(&bytes[start..]));
        let begin = if self.cut {
            // What comes of so much is only looked at: it may begin with half a secret.
            let end = whole_character(&bytes, self.redactor.reach());
            let looked_at = clean(&String::from_utf8_lossy(&bytes[start..end])).len();
            whole_word(&text, text.floor_char_boundary(looked_at))
        } else {
            0
        };
        let shown = self.redactor.part(&text, begin..text.len());
        ending(shown.trim(), self.limit, self.cut).into_owned()
    }
}

/// Where the first whole character begins from there on.
fn whole_character(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    at + bytes[at..].iter().take(4).position(|b| b & 0xc0 != 0x80).unwrap_or(0)
}

/// Where the first whole word begins from there on: of half a secret nobody could tell that it is one. Without a blank in reach it is
/// there.
fn whole_word(text: &str, at: usize) -> usize {
    let reach = text.as_bytes()[at..].iter().take(LINE);
    at + reach.clone().position(u8::is_ascii_whitespace).unwrap_or(0)
}

/// Cuts a stream into lines, each bounded.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Of the line that is not complete, as much as is looked at.
    line: Vec<u8>,
    redactor: Arc<Redactor>,
}

impl Lines {
    pub(crate) fn new(redactor: &Arc<Redactor>) -> Self {
        Self { line: Vec::new(), redactor: Arc::clone(redactor) }
    }

    /// The last complete line of a chunk that says something, if there is one: only the newest is told. As it was printed; one that
    /// is cut is without secrets, which could not be told from the rest of it.
    pub(crate) fn newest(&mut self, chunk: &[u8]) -> Option<String> {
        let Some(end) = memrchr2(b'\n', b'\r', chunk) else {
            self.hold(chunk);
            return None;
        };
        let mut complete = &chunk[..end];
        let mut newest = None;
        for _ in 0..LOOKED_AT {
            let Some(before) = memrchr2(b'\n', b'\r', complete) else {
                // This one began in an earlier chunk.
                self.hold(complete);
                newest = self.said(&self.line);
                break;
            };
            newest = self.said(&complete[before + 1..]);
            if newest.is_some() {
                break;
            }
            complete = &complete[..before];
        }
        self.line.clear();
        self.hold(&chunk[end + 1..]);
        newest
    }

    /// What is left when the stream ends.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let line = self.said(&self.line);
        self.line.clear();
        line
    }

    /// More than is told of a line, so that a secret at the cut is known to be one, and that there is more.
    fn room(&self) -> usize {
        LINE + self.redactor.reach()
    }

    fn hold(&mut self, part: &[u8]) {
        let room = self.room() - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// A line that says something. One that is too long ends with a whole word, for the same reason as above.
    fn said(&self, line: &[u8]) -> Option<String> {
        if line.len() > LINE {
            let text = clean(&String::from_utf8_lossy(&line[..line.len().min(self.room())]));
            let end = text.floor_char_boundary(LINE);
            let end = if end < text.len() { text[..end].rfind(' ').unwrap_or(end) } else { end };
            return Some(self.redactor.part(&text, 0..end).into_owned()).filter(|text| !text.trim().is_empty());
        }
        let text = String::from_utf8_lossy(line);
        let surely = memchr(0x1b, line).is_none() && line.iter().any(u8::is_ascii_graphic);
        (surely || !clean(&text).trim().is_empty()).then(|| text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    fn plain() -> Arc<Redactor> {
        Arc::new(Redactor::default())
    }

    #[test]
    fn a_note_is_one_line_that_is_cut() {
        assert_eq!(note("  two \n lines\t here "), "two lines here");
        assert_eq!(note(&"ä".repeat(1000)).chars().count(), NOTE + 1);
    }

    #[test]
    fn a_cut_leaves_whole_what_people_see_as_one_sign() {
        let family = "👩‍👩‍👧‍👦";
        assert_eq!(note(&family.repeat(72)), format!("{}…", family.repeat(71)));
        assert_eq!(tail(&family.repeat(5), 15), family.repeat(2));
        assert_eq!(tail("🇩🇪🇫🇷🇮🇹", 3), "🇮🇹");
        assert_eq!(head("🇩🇪🇫🇷🇮🇹", 3), "🇩🇪");
        assert_eq!((head("abc", 3), tail("abc", 3), head("abcd", 3), tail("abcd", 3)), ("abc", "abc", "abc", "bcd"));
        // A heap of marks is no sign that anybody reads.
        let heap = format!("a{}", "\u{301}".repeat(1000));
        assert_eq!(head(&heap, 500).chars().count(), 500);
        assert_eq!(tail(&heap, 500).chars().count(), 500);
    }

    #[test]
    fn a_result_of_98000_emoji_is_taken_whole() {
        let emoji = "🦀".repeat(98_000);
        let mut tail = Tail::new(RESULT, &plain());
        for chunk in emoji.as_bytes().chunks(16 * 1024) {
            tail.push(chunk);
        }
        assert!(tail.text() == emoji);
    }

    #[test]
    fn a_longer_result_is_cut_at_the_front_and_says_so() {
        let families = "👩‍👩‍👧‍👦".repeat(20_000);
        let mut tail = Tail::new(RESULT, &plain());
        tail.push(families.as_bytes());
        let text = tail.text();
        assert!(text.chars().count() <= RESULT);
        let rest = text.strip_prefix(CUT).unwrap();
        assert!(rest.chars().count() > RESULT - 100);
        assert!(rest.graphemes(true).all(|sign| sign == "👩‍👩‍👧‍👦"));
        assert_eq!(ending("short", RESULT, false), "short");
        assert_eq!(ending("short", RESULT, true), format!("{CUT}short"));
    }

    #[test]
    fn a_tail_is_bounded_and_begins_with_a_whole_word() {
        let mut tail = Tail::new(100, &plain());
        for _ in 0..100_000 {
            tail.push("ä".as_bytes());
        }
        tail.push(b"x");
        assert_eq!(tail.bytes.len(), 400 + plain().reach());
        assert_eq!(tail.text(), format!("{CUT}{}x", "ä".repeat(100 - CUT.len() - 1)));
        tail.push(&[0xff; 3]);
        assert!(tail.text().ends_with('\u{fffd}'));
        tail.push(&[b'y'; 50_000]);
        assert!(tail.text().ends_with(&"y".repeat(72)));
        let mut tail = Tail::new(50, &plain());
        tail.push(format!("{}\nwhole words", "x".repeat(100_000)).as_bytes());
        assert_eq!(tail.text(), format!("{CUT}whole words"));
    }

    const SECRET: &str = "0a1b2c3d4e5f6071829aabbccddeeff00112233445566778899aabbccddeeff0123456789abcdef1";

    fn knowing() -> Arc<Redactor> {
        Arc::new(Redactor::new([("A_KEY".into(), SECRET.into())].into_iter(), &[]).unwrap())
    }

    /// Whether more of the secret is in a text than may be there by chance.
    fn leaks(text: &str) -> bool {
        (0..SECRET.len() - 6).any(|at| text.contains(&SECRET[at..at + 6]))
    }

    #[test]
    fn a_secret_at_the_cut_of_a_tail_leaves_no_half() {
        let redactor = knowing();
        for limit in [100, 4 * SECRET.len()] {
            for bytes in [limit, limit * 4, limit * 4 + redactor.reach()] {
                for shift in 0..=SECRET.len() + 1 {
                    let rest = (bytes + 1).saturating_sub(shift);
                    let mut tail = Tail::new(limit, &redactor);
                    tail.push(format!("{}{SECRET}{}", "x".repeat(50_000), "y".repeat(rest)).as_bytes());
                    assert!(!leaks(&tail.text()), "{limit} {bytes} {shift}: {}", tail.text());
                }
            }
            for written in [format!("{SECRET} "), format!("{SECRET};"), format!("{}\n", SECRET.replace('a', "\\u0061"))]
            {
                let mut tail = Tail::new(limit, &redactor);
                tail.push(written.repeat(3000).as_bytes());
                assert!(!leaks(&tail.text()) && tail.text().contains("[redacted]"), "{}", tail.text());
            }
        }
        let token = format!("ghp_{}", "a1B2".repeat(9));
        for shift in 0..token.len() {
            let mut tail = Tail::new(1000, &redactor);
            tail.push(format!("{}{token}{}", "x-".repeat(50_000), "y-".repeat(500 - shift)).as_bytes());
            assert!(!tail.text().contains("a1B2"), "{}", tail.text());
        }
    }

    #[test]
    fn of_a_coloured_stream_the_end_is_shown_as_well() {
        let mut tail = Tail::new(1000, &plain());
        for n in 0..10_000 {
            tail.push(format!("\u{1b}[2K\u{1b}[1G\u{1b}[36m{}\u{1b}[39m\r", n % 10).as_bytes());
        }
        assert!(tail.text().starts_with(CUT) && tail.text().ends_with("6\n7\n8\n9"), "{}", tail.text());
        assert!(tail.text().len() > 300, "{}", tail.text());
    }

    #[test]
    fn a_secret_at_the_cut_of_a_line_leaves_no_half() {
        for shift in 0..=SECRET.len() + 1 {
            for chunk in [100, 100_000] {
                let mut lines = Lines::new(&knowing());
                let line = format!("{}{SECRET}{}\n", "x".repeat(LINE - shift), "y".repeat(shift * 300));
                let told: Vec<String> = line.as_bytes().chunks(chunk).filter_map(|part| lines.newest(part)).collect();
                assert!(told.len() == 1 && !leaks(&told[0]), "{shift}: {told:?}");
            }
        }
    }

    #[test]
    fn output_lines_are_bounded_and_the_newest_is_reported() {
        let mut lines = Lines::new(&plain());
        assert_eq!(lines.newest(b"one\ntwo\nthr"), Some("two".into()));
        assert_eq!(lines.newest(b"ee\n\n"), Some("three".into()));
        assert_eq!(lines.newest(&[b'x'; 1_000_000]), None);
        assert!(lines.line.capacity() <= 2 * lines.room());
        assert_eq!(lines.newest(b"\n").unwrap().len(), LINE);
        assert_eq!(lines.newest(b"50%\r100%\rdone"), Some("100%".into()));
        assert_eq!(lines.newest(b" and dusted\n\x1b[0m\n \n"), Some("done and dusted".into()));
        assert_eq!(lines.newest(b"last"), None);
        assert_eq!(lines.finish(), Some("last".into()));
        assert_eq!(lines.finish(), None);
        let long = format!("{} secret-of-the-machine", "w ".repeat(LINE / 2 - 4));
        assert_eq!(
            lines.newest(format!("{long}\n").as_bytes()).unwrap().trim_end(),
            "w ".repeat(LINE / 2 - 4).trim_end()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against the plain way: all complete lines, one after another.
        #[test]
        fn chunks_do_not_change_which_line_is_the_newest(text in "[a-c \n\r]{0,60}", cuts in proptest::collection::vec(1_usize..20, 1..10)) {
            let complete = text.rfind(['\n', '\r']).map_or("", |end| &text[..end]);
            let expected = complete.split(['\n', '\r']).rfind(|line| !line.trim().is_empty());
            let mut lines = Lines::new(&plain());
            let mut newest = None;
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                newest = lines.newest(chunk).or(newest);
                rest = behind;
            }
            prop_assert_eq!(newest.as_deref(), expected);
        }
    }

    /// Prints what a flood costs; a figure that a busy machine could spoil is not asserted.
    #[test]
    fn a_gigabyte_of_output_is_cheap() {
        let kinds: [(&str, Vec<u8>); 4] = [
            ("lines of 80 bytes", [&[b'x'; 79][..], b"\n"].concat().repeat(205)),
            ("one line", vec![b'x'; 16 * 1024]),
            ("empty lines", vec![b'\n'; 16 * 1024]),
            ("coloured lines of 4000 bytes", [b"\x1b[31m", &[b'x'; 4000][..], b"\x1b[0m\n"].concat().repeat(4)),
        ];
        for (kind, chunk) in kinds {
            let begun = std::time::Instant::now();
            let (mut lines, mut tail) = (Lines::new(&plain()), Tail::new(RESULT, &plain()));
            let mut told = 0;
            for _ in 0..(1 << 30) / chunk.len() {
                told += usize::from(lines.newest(&chunk).is_some());
                tail.push(&chunk);
            }
            println!("1 GiB of {kind}: {:?}, {told} notes", begun.elapsed());
            assert!(tail.bytes.len() <= tail.room());
        }
    }
}
