//! What one caller may ask of the machine, where hosted Supabase has a machine a customer: patterns, depth, bodies at a time, tries at a
//! password. Nothing of the hub's meaning.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longer ones are no question.
const PATTERN_BYTES: usize = 500;
/// So many pieces of a pattern may be empty, counted repetitions counted in, and so many pieces may there be. Beyond, Postgres compiles and
/// matches for seconds: `((.?){255}){3}` is 765 that may be empty, and took six.
const OPTIONAL: usize = 64;
const PIECES: usize = 1000;

/// What is wrong with a regular expression that may match for ever. Postgres matches in one pass but for back-references, which it tries in every
/// way there is: a few bytes cost minutes, and nobody else is served on that core.
pub const COSTLY: &str =
    "has a back-reference, is longer than 500 bytes, or repeats what may be empty more often than 64 times";

/// Whether matching this regular expression may take for ever.
#[must_use]
pub fn is_costly_pattern(pattern: &str) -> bool {
    pattern.len() > PATTERN_BYTES || Weigher { chars: pattern.chars().peekable() }.alternatives().is_none()
}

/// A part of a pattern as it is when its counted repetitions are written out.
#[derive(Clone, Copy, Default)]
struct Weight {
    pieces: usize,
    optional: usize,
}

impl Weight {
    fn plus(self, other: Self) -> Option<Self> {
        let sum = Self { pieces: self.pieces + other.pieces, optional: self.optional + other.optional };
        (sum.pieces <= PIECES && sum.optional <= OPTIONAL).then_some(sum)
    }
}

/// Reads a pattern as far as its weight needs; what is no pattern Postgres refuses. None: too heavy.
struct Weigher<'p> {
    chars: std::iter::Peekable<std::str::Chars<'p>>,
}

impl Weigher<'_> {
    /// Up to the end, or to the parenthesis that closes.
    fn alternatives(&mut self) -> Option<Weight> {
        let mut sum = Weight::default();
        let mut empty = true;
        loop {
            let char = self.chars.next();
            if matches!(char, None | Some(')' | '|')) {
                // An empty alternative is a piece that may be left out.
                sum = sum.plus(Weight { pieces: 0, optional: usize::from(empty) })?;
                empty = true;
                match char {
                    Some('|') => continue,
                    _ => return Some(sum),
                }
            }
            empty = false;
            let atom = self.atom(char?)?;
            sum = sum.plus(self.repeated(atom)?)?;
        }
    }

    fn atom(&mut self, char: char) -> Option<Weight> {
        let one = Weight { pieces: 1, optional: 0 };
        match char {
            '\\' => match self.chars.next() {
                Some('1'..='9') => None,
                _ => Some(one),
            },
            '[' => {
                // A closing bracket that comes first is a member, as is one behind `^`.
                self.chars.next_if_eq(&'^');
                self.chars.next_if_eq(&']');
                while let Some(char) = self.chars.next() {
                    match char {
                        ']' => break,
                        '\\' => drop(self.chars.next()),
                        '[' if matches!(self.chars.peek(), Some(':' | '.' | '=')) => {
                            while self.chars.next().is_some_and(|char| char != ']') {}
                        }
                        _ => {}
                    }
                }
                Some(one)
            }
            '(' => {
                // `(?:`, `(?=` and their like repeat nothing.
                if self.chars.next_if_eq(&'?').is_some() {
                    self.chars.next_if(|char| matches!(char, ':' | '=' | '!' | '<'));
                    self.chars.next_if(|char| matches!(char, '=' | '!'));
                }
                let inner = self.alternatives()?;
                Some(Weight { pieces: inner.pieces.max(1), ..inner })
            }
            _ => Some(one),
        }
    }

    fn repeated(&mut self, mut of: Weight) -> Option<Weight> {
        while let Some(sign) = self.chars.next_if(|char| matches!(char, '?' | '*' | '+' | '{')) {
            let (least, most) = match sign {
                '?' | '*' => (0, 1),
                '+' => (1, 1),
                _ => {
                    let text: String = std::iter::from_fn(|| self.chars.next_if(|char| *char != '}')).collect();
                    self.chars.next();
                    let (least, most) = text.split_once(',').unwrap_or((&text, &text));
                    let number = |text: &str| text.parse::<usize>().unwrap_or(0);
                    (number(least), number(most).max(number(least)).max(1))
                }
            };
            // Of one character Postgres makes a chain, of a group as many copies.
            let single = of.pieces == 1 && of.optional == 0;
            of = Weight { pieces: of.pieces.checked_mul(most)?, optional: of.optional.checked_mul(most)? };
            of = of.plus(Weight {
                pieces: 0,
                optional: if least > 0 {
                    0
                } else if single {
                    1
                } else {
                    most
                },
            })?;
            // `*?` and its like say how greedy, and repeat nothing.
            self.chars.next_if_eq(&'?');
        }
        Some(of)
    }
}

/// How deep the parentheses of a text are nested.
#[must_use]
pub fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' => {
                now += 1;
                most = most.max(now);
            }
            b')' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// A body that keeps a turn until it is read or given up.
pub(crate) struct Kept {
    pub body: Body,
    pub _turn: Option<OwnedSemaphorePermit>,
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Turns at something: so many of each caller at a time; the next one waits for the caller's own, and for nobody else's.
#[derive(Clone)]
pub struct Turns {
    at_a_time: usize,
    callers: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
}

impl Turns {
    /// Beyond this many callers those who have no turn are forgotten.
    const REMEMBERED: usize = 1024;

    /// So many at a time.
    #[must_use]
    pub fn of(at_a_time: usize) -> Self {
        Self { at_a_time, callers: Arc::default() }
    }

    /// A turn of this caller.
    pub async fn turn(&self, caller: &str) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
            if callers.len() >= Self::REMEMBERED {
                callers.retain(|_, turns| Arc::strong_count(turns) > 1 || turns.available_permits() < self.at_a_time);
            }
            callers.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.at_a_time))).clone()
        };
        turns.acquire_owned().await.ok()
    }
}

/// Wrong passwords of each account: after a few, none is tried for a while, right or wrong.
#[derive(Default)]
pub struct Tries {
    wrong: Mutex<HashMap<String, (u32, Instant)>>,
}

impl Tries {
    const WRONG: u32 = 10;
    const WINDOW: Duration = Duration::from_secs(300);
    const REMEMBERED: usize = 10_000;

    /// How long this account has to wait, if it does.
    #[must_use]
    pub fn wait(&self, account: &str) -> Option<Duration> {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = wrong.get(account)?;
        Self::WINDOW.checked_sub(since.elapsed()).filter(|_| *count >= Self::WRONG)
    }

    /// A password was wrong.
    pub fn wrong(&self, account: &str) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= Self::REMEMBERED {
            wrong.retain(|_, (_, since)| since.elapsed() < Self::WINDOW);
        }
        let entry = wrong.entry(account.to_owned()).or_insert((0, Instant::now()));
        if entry.1.elapsed() >= Self::WINDOW {
            *entry = (0, Instant::now());
        }
        entry.0 += 1;
    }

    /// One was right.
    pub fn right(&self, account: &str) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_back_references_and_long_patterns_are_costly() {
        let many = "a?".repeat(100);
        for costly in [
            r"(x+x+)+y\1",
            r"\\\1",
            r"(a)(b)\2",
            &"x".repeat(501),
            "((.?){255}){3}b0",
            "((a?){50}){3}b",
            "(a?){255}b",
            "(a|){255}b",
            "(?:a*){100}",
            "((a{0,9}){9}){9}",
            "(x{100}){100}",
            "(ab){0,255}",
            &many,
        ] {
            assert!(is_costly_pattern(costly), "{costly}");
        }
        for fine in [
            "^a.*b$",
            r"\d+",
            r"\\1",
            r"a\.1",
            "",
            "1",
            r"\0",
            r"^\d{4}-\d{2}-\d{2}T.*$",
            ".{0,255}a.{0,255}b.{0,255}",
            "[]?*]{3}",
            "[[:alpha:]?]+(?:one|two|three){1,20}",
            "(?=.*a)(?!b).*?c",
            r"^[\w.+-]+@[\w-]+(\.[\w-]+)*$",
            "(a|b|c)*(d|e)?",
            "((((",
            "a{",
            "{3}",
            "))",
            r"\",
        ] {
            assert!(!is_costly_pattern(fine), "{fine}");
        }
    }

    #[test]
    fn depth_is_the_nesting_of_parentheses() {
        assert_eq!((depth("id,a(b,c(d))"), depth("x"), depth("))((")), (2, 0, 2));
    }

    #[test]
    fn an_account_waits_after_wrong_passwords_and_others_do_not() {
        let tries = Tries::default();
        for _ in 0..Tries::WRONG {
            assert_eq!(tries.wait("ada"), None);
            tries.wrong("ada");
        }
        assert!(tries.wait("ada").is_some_and(|wait| wait > Duration::from_secs(290)));
        assert_eq!(tries.wait("bob"), None);
        tries.right("ada");
        assert_eq!(tries.wait("ada"), None);
    }

    #[tokio::test]
    async fn a_caller_waits_only_for_turns_of_its_own() {
        let turns = Turns::of(16);
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(turns.turn("ada").await);
        }
        assert!(tokio::time::timeout(Duration::from_millis(20), turns.turn("ada")).await.is_err());
        assert!(turns.turn("bob").await.is_some());
        held.pop();
        assert!(turns.turn("ada").await.is_some());
    }
}
