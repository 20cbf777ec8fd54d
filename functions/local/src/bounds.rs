//! What one caller may ask of the machine, where hosted Supabase has a machine a customer: patterns, depth, bodies at a time, tries at a
//! password. Nothing of the hub's meaning.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longer ones are no question.
const PATTERN_BYTES: usize = 500;

/// Whether matching this regular expression may take for ever. Postgres matches in one pass but for back-references, which it tries in every way
/// there is: a few bytes cost minutes, and nobody else is served on that core.
#[must_use]
pub fn is_costly_pattern(pattern: &str) -> bool {
    let mut escaped = false;
    pattern.len() > PATTERN_BYTES
        || pattern.chars().any(|char| {
            let costly = escaped && ('1'..='9').contains(&char);
            escaped = char == '\\' && !escaped;
            costly
        })
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
        for costly in [r"(x+x+)+y\1", r"\\\1", r"(a)(b)\2", &"x".repeat(501)] {
            assert!(is_costly_pattern(costly), "{costly}");
        }
        for fine in ["^a.*b$", r"\d+", r"\\1", r"a\.1", "", "1", r"\0"] {
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
