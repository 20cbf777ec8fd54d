//! What programs print, made fit for a conversation and bounded in memory.

use std::collections::VecDeque;

/// A line is cut after this many bytes; the rest of it is not kept.
const LINE: usize = 4096;
/// A note has at most this many characters.
const NOTE: usize = 500;

/// Takes out what has no place in a text column or a message: NUL, control characters, terminal sequences. A carriage return
/// ends a line, as it does on a terminal.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // CSI: parameters, then one final character.
                Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                // OSC (titles, links): to BEL or ESC \.
                Some(']') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// One line for people: cleaned, on one line, cut.
pub(crate) fn note(text: &str) -> String {
    let line = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(NOTE) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// The last so many bytes of a stream.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    cut: bool,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, cut: false }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let over = (self.bytes.len() + chunk.len()).saturating_sub(self.limit);
        self.cut |= over > 0;
        if chunk.len() >= self.limit {
            self.bytes.clear();
            self.bytes.extend(&chunk[chunk.len() - self.limit..]);
        } else {
            self.bytes.drain(..over);
            self.bytes.extend(chunk);
        }
    }

    /// As text, cleaned and trimmed. What is cut off at the front begins with a whole character.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let start = if self.cut { bytes.iter().take(4).position(|b| b & 0xc0 != 0x80).unwrap_or(0) } else { 0 };
        clean(&String::from_utf8_lossy(&bytes[start..])).trim().to_owned()
    }
}

/// Cuts a stream into lines, each bounded.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
}

impl Lines {
    /// The last complete line of a chunk that says something, if there is one: only the newest is told.
    pub(crate) fn newest(&mut self, chunk: &[u8]) -> Option<String> {
        let mut newest = None;
        for &byte in chunk {
            if byte == b'\n' || byte == b'\r' {
                newest = self.finish().or(newest);
            } else if self.line.len() < LINE {
                self.line.push(byte);
            }
        }
        newest
    }

    /// What is left when the stream ends.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let line = note(&String::from_utf8_lossy(&self.line));
        self.line.clear();
        Some(line).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_a_text_column_can_not_hold_are_removed() {
        assert_eq!(clean("a\0b\u{1b}[1;31mred\u{1b}[0m\u{7}\u{1b}]0;title\u{7}x\r\ny\rz"), "abredx\ny\nz");
        assert_eq!(note("  two \n lines\t here "), "two lines here");
        assert_eq!(note(&"ä".repeat(1000)).chars().count(), NOTE + 1);
    }

    #[test]
    fn a_tail_is_bounded_and_begins_with_a_whole_character() {
        let mut tail = Tail::new(10);
        for _ in 0..1000 {
            tail.push("ä".as_bytes());
        }
        tail.push(b"x");
        assert!(tail.bytes.len() <= 10);
        assert_eq!(tail.text(), "ääääx");
        tail.push(&[0xff; 3]);
        assert!(tail.text().ends_with('\u{fffd}'));
        tail.push(&[b'y'; 500]);
        assert_eq!(tail.text(), "y".repeat(10));
    }

    #[test]
    fn output_lines_are_bounded_and_the_newest_is_reported() {
        let mut lines = Lines::default();
        assert_eq!(lines.newest(b"one\ntwo\nthr"), Some("two".into()));
        assert_eq!(lines.newest(b"ee\n\n"), Some("three".into()));
        assert_eq!(lines.newest(&[b'x'; 1_000_000]), None);
        assert!(lines.line.capacity() <= 2 * LINE);
        assert!(lines.newest(b"\n").is_some());
        assert_eq!(lines.newest(b"50%\r100%\rdone"), Some("100%".into()));
        assert_eq!(lines.finish(), Some("done".into()));
    }
}
