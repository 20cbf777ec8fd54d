//! How often one caller may ask. Kept in this process: it is against a script that runs wild and against guessing, and costs no write to
//! the database; whoever runs many processes limits in front of them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};

/// A caller may ask this many seconds' worth at once.
const BURST_SECONDS: u32 = 4;
/// Callers that were quiet are forgotten once in so many questions: what is kept is as large as the crowd of a moment.
const FORGET_EVERY: u32 = 4096;

/// Who asks. Deliveries of GitHub, Telegram and Discord, once verified, are nobody's here: one that is refused is not sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller<'a> {
    /// The bearer of a verified token.
    Person(&'a str),
    /// The bearer of a token that only the database knows.
    Hook(&'a str),
    /// Whoever shows such tokens, or those of asks, by address: each may be another.
    Hooks(&'a str),
    /// Whoever showed what does not count, or sent too slowly, by address.
    Stranger(&'a str),
}

/// Requests a second for each caller, and four seconds' worth of them at once.
#[derive(Clone)]
pub struct Limit {
    limiter: Arc<DefaultKeyedRateLimiter<u64>>,
    asked: Arc<AtomicU32>,
}

impl Limit {
    /// This many a second.
    #[must_use]
    pub fn per_second(requests: NonZeroU32) -> Self {
        let burst = requests.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
        let limiter = RateLimiter::keyed(Quota::per_second(requests).allow_burst(burst));
        Self { limiter: Arc::new(limiter), asked: Arc::default() }
    }

    /// Counts a request, or says in how much time another one may come.
    pub(crate) fn check(&self, caller: Caller<'_>) -> Result<(), Duration> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        // A number, so that no token is kept; two callers of one number share a limit.
        let mut hasher = DefaultHasher::new();
        caller.hash(&mut hasher);
        self.limiter
            .check_key(&hasher.finish())
            .map_err(|until| until.wait_time_from(governor::clock::DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_limit_of_its_own() {
        let limit = Limit::per_second(NonZeroU32::new(1).unwrap());
        for _ in 0..BURST_SECONDS {
            assert_eq!(limit.check(Caller::Person("a")), Ok(()));
        }
        let wait = limit.check(Caller::Person("a")).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert_eq!(limit.check(Caller::Person("b")), Ok(()));
        assert_eq!(limit.check(Caller::Hook("a")), Ok(()));
        assert_eq!(limit.check(Caller::Stranger("a")), Ok(()));
    }
}
