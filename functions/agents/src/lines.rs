//! Lines of JSON out of pieces of bytes.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// Longer lines are dropped: nothing a program says is that long, and what it says is kept until the line ends.
const LONGEST: usize = 32 * 1024 * 1024;

/// Cuts a stream into lines, whatever the pieces in which it comes.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end did not come yet.
    begun: Vec<u8>,
    /// The line is too long: the rest of it is skipped.
    skipping: bool,
}

impl Lines {
    /// Calls `take` for each line that ends in `bytes`, without its end (`\n` or `\r\n`). Empty ones are left out.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.begun.is_empty() {
                give(line, &mut take);
            } else {
                self.begun.extend_from_slice(line);
                give(&self.begun, &mut take);
                // A long line's room is given back.
                self.begun = Vec::new();
            }
        }
        if self.skipping {
            return;
        }
        if self.begun.len() + bytes.len() > LONGEST {
            (self.begun, self.skipping) = (Vec::new(), true);
            return;
        }
        self.begun.extend_from_slice(bytes);
    }

    /// The last line, if it had no end.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        let line = std::mem::take(&mut self.begun);
        if !std::mem::take(&mut self.skipping) {
            give(&line, &mut take);
        }
    }
}

fn give(line: &[u8], take: &mut impl FnMut(&[u8])) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() <= LONGEST && !line.iter().all(u8::is_ascii_whitespace) {
        take(&whole(line));
    }
}

/// Half a character, as programs write it that cut a text in its middle (`\ud83d` with no `\ude00` behind it), is valid where they come
/// from and nowhere else: the line would be lost with it. It becomes U+FFFD.
fn whole(line: &[u8]) -> Cow<'_, [u8]> {
    let mut halves = memmem::find_iter(line, b"\\ud").chain(memmem::find_iter(line, b"\\uD")).peekable();
    if halves.peek().is_none() {
        return Cow::Borrowed(line);
    }
    let unit = |at: usize| {
        let text = std::str::from_utf8(line.get(at..at + 6)?).ok()?;
        u16::from_str_radix(text.strip_prefix("\\u")?, 16).ok()
    };
    let mut mended = line.to_vec();
    let mut at = 0;
    while let Some(next) = memchr(b'\\', &line[at..]) {
        at += next;
        let pair = || matches!(unit(at + 6), Some(0xDC00..=0xDFFF));
        match unit(at) {
            Some(0xD800..=0xDBFF) if pair() => at += 12,
            Some(0xD800..=0xDFFF) => {
                mended[at..at + 6].copy_from_slice(b"\\ufffd");
                at += 6;
            }
            // Another escape: what is behind the backslash belongs to it.
            _ => at = (at + 2).min(line.len()),
        }
    }
    Cow::Owned(mended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| all.push(line.to_vec()));
        }
        lines.finish(|line| all.push(line.to_vec()));
        all
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_lines(text in "[ab\r\n]{0,60}", cuts in prop::collection::vec(0usize..60, 0..8)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&pieces), lines(&[bytes]));
        }
    }

    #[test]
    fn a_line_without_an_end_is_dropped_and_the_next_one_is_not() {
        let long = vec![b'x'; LONGEST + 1];
        assert_eq!(lines(&[b"a\n", &long, &long, b"x\nb\r\n\n c"]), [&b"a"[..], b"b", b" c"]);
        assert_eq!(lines(&[&[&long[..], b"\nb"].concat()]), [b"b"]);
    }

    #[test]
    fn half_a_character_costs_only_itself() {
        for (line, mended) in [
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ufffd"}"#),
            (r#"{"a":"\ud83d\ude00 \uDE00 \uD83D\n"}"#, r#"{"a":"\ud83d\ude00 \ufffd \ufffd\n"}"#),
            (r#"{"a":"\\ud83d"}"#, r#"{"a":"\\ud83d"}"#),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#),
            (r"\ud8", r"\ud8"),
        ] {
            assert_eq!(String::from_utf8(lines(&[line.as_bytes()]).remove(0)).unwrap(), mended);
        }
    }
}
