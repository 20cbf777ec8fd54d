//! Requests with a bound on everything, and answers without secrets: an address may hold one (Telegram's does), so errors name none.

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use reqwest::{RequestBuilder, header::HeaderMap};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::{Failure, address::Refused};

/// From the request's first byte to the answer's last. Standard Webhooks says 15 to 30 s.
pub(super) const WITHIN: Duration = Duration::from_secs(20);
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A wait that the other side asks for is done on the spot if it is no longer than this; else the row goes back to the queue.
const SHORT: Duration = Duration::from_secs(5);
/// No longer, whatever the other side says: a number that is wrong must not silence a target for days.
const LONGEST: Duration = Duration::from_secs(3600);
/// No shorter: "at once" from somebody who is overloaded would use up the attempts in a moment.
const SHORTEST: Duration = Duration::from_millis(250);

/// What came back.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    body: Vec<u8>,
    complete: bool,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body, if it is all there and of that form.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        self.complete.then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    /// What the headers say of when to come back: `Retry-After` in seconds or as a date, or Discord's own.
    pub fn retry_after(&self) -> Option<Duration> {
        let after = self.header("retry-after").and_then(|text| {
            let text = text.trim();
            let date = || httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok();
            text.parse().ok().and_then(seconds).or_else(date)
        });
        after.or_else(|| seconds(self.header("x-ratelimit-reset-after")?.trim().parse().ok()?)).map(bounded)
    }
}

/// Seconds that somebody else wrote.
pub(super) fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok().or((value > 0.0).then_some(LONGEST))
}

pub(super) fn bounded(after: Duration) -> Duration {
    after.clamp(SHORTEST, LONGEST)
}

/// Sends it, and reads at most `bytes` of the answer's body.
pub(super) async fn send(request: RequestBuilder, bytes: usize) -> Result<Answer, Failure> {
    let mut response = request.send().await.map_err(|error| failed(&error))?;
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    let (mut body, mut complete) = (Vec::new(), bytes == 0);
    while !complete {
        match response.chunk().await {
            Ok(None) => complete = true,
            Ok(Some(chunk)) if body.len() + chunk.len() <= bytes => body.extend_from_slice(&chunk),
            // Too long, or broken off: the status counts nevertheless, and what needs the body finds it missing.
            Ok(Some(_)) | Err(_) => break,
        }
    }
    Ok(Answer { status, headers, body, complete })
}

fn failed(error: &reqwest::Error) -> Failure {
    let mut cause = error.source();
    let mut last = None;
    while let Some(error) = cause {
        if error.is::<Refused>() {
            return Failure::for_good(error.to_string());
        }
        last = Some(error);
        cause = error.source();
    }
    if error.is_timeout() {
        return Failure::for_now(format!("no answer within {} s", WITHIN.as_secs()));
    }
    // The innermost cause is the system's or TLS's: "Connection refused", a certificate's fault. No address is in it.
    let why = last.map(|error| super::text::shorten(&error.to_string(), 150)).unwrap_or_default();
    Failure::for_now(match (error.is_connect(), why.as_str()) {
        (_, "") => "the request could not be sent".into(),
        (true, why) => format!("no connection: {why}"),
        (false, why) => format!("the connection broke off: {why}"),
    })
}

/// A limit that the other side set with an answer.
pub(super) struct Limit {
    pub after: Option<Duration>,
    /// For everything with this secret, not only for what was asked.
    pub global: bool,
}

/// Until when nothing is asked: of a whole provider with one secret, or of one target.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<String, Instant>>);

impl Holds {
    pub fn hold(&self, key: &str, after: Duration) {
        let (now, until) = (Instant::now(), Instant::now() + after);
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        holds.retain(|_, until| *until > now);
        let held = holds.entry(key.to_owned()).or_insert(until);
        *held = until.max(*held);
    }

    fn left(&self, keys: &[&str]) -> Duration {
        let holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = keys.iter().filter_map(|key| holds.get(*key)).max();
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits until it may be asked; fails if that is too long to wait for.
    pub async fn passed(&self, keys: &[&str], until: Instant) -> Result<(), Failure> {
        loop {
            let left = self.left(keys);
            if left.is_zero() {
                return Ok(());
            }
            wait(left, until, "waiting for a rate limit to pass").await?;
        }
    }
}

/// Waits on the spot, or says that the row has to.
async fn wait(after: Duration, until: Instant, why: &str) -> Result<(), Failure> {
    if after > SHORT || Instant::now() + after > until {
        return Err(Failure::later(why, after));
    }
    sleep(after).await;
    Ok(())
}

/// One call, made again after a limit that passes soon. `keys`: what holds it, the first of everything with this secret, the second
/// of its target.
pub(super) async fn call(
    holds: &Holds,
    keys: [&str; 2],
    until: Instant,
    bytes: usize,
    limit: impl Fn(&Answer) -> Option<Limit>,
    request: impl Fn() -> RequestBuilder,
) -> Result<Answer, Failure> {
    loop {
        if Instant::now() >= until {
            return Err(Failure::later("it took too long; the rest follows", SHORTEST));
        }
        holds.passed(&keys, until).await?;
        let answer = send(request(), bytes).await?;
        let Some(limit) = limit(&answer) else { return Ok(answer) };
        let why = format!("rate limited ({})", answer.status);
        let Some(after) = limit.after else { return Err(Failure::for_now(why)) };
        if limit.global {
            holds.hold(keys[0], after);
        }
        wait(after, until, &why).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Answer {
        pub fn of(status: u16, headers: &[(&'static str, &str)]) -> Self {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            Self { status, headers, body: vec![], complete: true }
        }
    }

    fn answer(headers: &[(&'static str, String)]) -> Answer {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Answer::of(429, &headers)
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_bounded() {
        let after = |name: &'static str, value: &str| answer(&[(name, value.to_owned())]).retry_after();
        assert_eq!(after("retry-after", "90"), Some(Duration::from_secs(90)));
        assert_eq!(after("retry-after", " 1.5 "), Some(Duration::from_millis(1500)));
        assert_eq!(after("x-ratelimit-reset-after", "0.75"), Some(Duration::from_millis(750)));
        assert_eq!(after("retry-after", "0"), Some(SHORTEST));
        assert_eq!(after("retry-after", "99999999999999999999999999"), Some(LONGEST));
        assert_eq!(after("retry-after", "inf"), Some(LONGEST));
        for nothing in ["-1", "NaN", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(after("retry-after", nothing), None, "{nothing}");
        }
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(120));
        let read = after("retry-after", &soon).unwrap();
        assert!(read > Duration::from_secs(110) && read <= Duration::from_secs(120), "{read:?}");
        let both = answer(&[("retry-after", "2".into()), ("x-ratelimit-reset-after", "9".into())]);
        assert_eq!(both.retry_after(), Some(Duration::from_secs(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn short_holds_are_waited_for_and_long_ones_fail() {
        let holds = Holds::default();
        let until = Instant::now() + Duration::from_secs(45);
        holds.hold("a", Duration::from_secs(3));
        holds.hold("a", Duration::from_secs(1));
        let begun = Instant::now();
        holds.passed(&["b", "c"], until).await.unwrap();
        assert!(begun.elapsed().is_zero());
        holds.passed(&["a", "c"], until).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(3));
        holds.hold("a", Duration::from_secs(30));
        let failure = holds.passed(&["a", "c"], until).await.unwrap_err();
        assert!(failure.retry_after.unwrap() > Duration::from_secs(29) && !failure.permanent);
    }

    #[tokio::test]
    async fn an_error_names_no_address() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let failure = send(client.get(format!("http://{closed}/bot123:secret/x")), 10).await.err().unwrap();
        assert!(failure.error.starts_with("no connection: "), "{}", failure.error);
        assert!(!failure.error.contains("secret") && !failure.error.contains("bot"), "{}", failure.error);
    }
}
