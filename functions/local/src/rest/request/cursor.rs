//! A text that is read from left to right, and what would have been right where it stopped being readable.

/// What a reading function gives: none after it has said through [`Cursor::expect`] what it was looking for.
pub type Read<T> = Option<T>;

/// The place in a text up to which it has been read.
pub struct Cursor<'t> {
    text: &'t str,
    at: usize,
    /// The farthest place at which something else was expected; that is where the text is wrong.
    stuck_at: usize,
    expected: Vec<&'static str>,
}

/// Why a text can not be read: where it is wrong, as people count, and what stands there instead of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// From one.
    pub line: usize,
    /// From one, in characters.
    pub column: usize,
    /// `unexpected "x" expecting "y" or end of input`.
    pub details: String,
}

/// The label of an end that was expected.
pub const END: &str = "end of input";

impl<'t> Cursor<'t> {
    /// At the beginning of a text.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0, stuck_at: 0, expected: Vec::new() }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    /// The next character.
    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// All was read.
    pub fn is_done(&self) -> bool {
        self.at == self.text.len()
    }

    /// Goes on behind the next character.
    pub fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Says what would have been right here; always none, for `return`.
    pub fn expect<T>(&mut self, label: &'static str) -> Read<T> {
        self.expect_at(self.at, label)
    }

    fn expect_at<T>(&mut self, at: usize, label: &'static str) -> Read<T> {
        if at > self.stuck_at {
            self.stuck_at = at;
            self.expected.clear();
        }
        if at == self.stuck_at && !self.expected.contains(&label) {
            self.expected.push(label);
        }
        None
    }

    /// What is expected where the text is stuck, and what it is said to be instead: the name of a whole, for the parts it begins with.
    pub fn labelled<T>(&mut self, label: &'static str, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let (at, stuck_at, expected) = (self.at, self.stuck_at, self.expected.clone());
        let value = read(self);
        if value.is_none() && self.stuck_at <= at {
            (self.stuck_at, self.expected) = (stuck_at, expected);
            return self.expect_at(at, label);
        }
        value
    }

    /// Reads, or stays where it is.
    pub fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        let at = self.at;
        let value = read(self);
        if value.is_none() {
            self.at = at;
        }
        value
    }

    /// Where it stands, for [`Cursor::back`].
    pub fn mark(&self) -> usize {
        self.at
    }

    /// Back to a mark.
    pub fn back(&mut self, mark: usize) {
        self.at = mark;
    }

    /// Whether these characters come next; they are read if so.
    pub fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// These characters must come next; `label` is how an error writes them.
    pub fn token(&mut self, word: &str, label: &'static str) -> Read<()> {
        if self.eat(word) { Some(()) } else { self.expect(label) }
    }

    /// The characters that come next as long as `which` holds.
    pub fn run(&mut self, which: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|char| !which(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Spaces and tabs.
    pub fn spaces(&mut self) {
        self.run(|char| matches!(char, ' ' | '\t'));
    }

    /// Everything up to the end.
    pub fn take_rest(&mut self) -> &'t str {
        let rest = self.rest();
        self.at = self.text.len();
        rest
    }

    /// Why it could not be read further.
    pub fn stuck(&self) -> Stuck {
        let before = &self.text[..self.stuck_at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let unexpected = match self.text[self.stuck_at..].chars().next() {
            None => END.to_owned(),
            // An end that was expected names the character, anything else the text.
            Some(char) if self.expected.contains(&END) => format!("'{char}'"),
            Some(char) => format!("\"{}\"", char.escape_debug()),
        };
        let expecting = match self.expected.as_slice() {
            [] => String::new(),
            [one] => format!(" expecting {one}"),
            [first @ .., last] => format!(" expecting {} or {last}", first.join(", ")),
        };
        Stuck { line, column, details: format!("unexpected {unexpected}{expecting}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_place_counts_with_all_that_was_expected_there() {
        let mut cursor = Cursor::new("ab\ncx");
        assert!(cursor.eat("ab\nc"));
        assert_eq!(cursor.token("y", "\"y\""), None);
        assert_eq!(cursor.expect::<()>("digit"), None);
        let stuck = cursor.stuck();
        assert_eq!((stuck.line, stuck.column), (2, 2));
        assert_eq!(stuck.details, "unexpected \"x\" expecting \"y\" or digit");
        assert_eq!(cursor.expect::<()>(END), None);
        assert_eq!(cursor.stuck().details, "unexpected 'x' expecting \"y\", digit or end of input");
    }

    #[test]
    fn an_attempt_that_fails_reads_nothing() {
        let mut cursor = Cursor::new("abc");
        assert_eq!(
            cursor.attempt(|cursor| {
                cursor.bump();
                cursor.token("x", "\"x\"")
            }),
            None
        );
        assert_eq!(cursor.rest(), "abc");
        assert_eq!(cursor.run(|char| char < 'c'), "ab");
        assert_eq!(cursor.take_rest(), "c");
        assert!(cursor.is_done());
    }
}
