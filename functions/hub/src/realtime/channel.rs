//! One topic as a socket sees it: where it is on its way to being joined, and who is told.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rand::Rng;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::time::Instant;

use super::{
    frame::{Body, Broadcast, Payload},
    queue::{Event, Queue},
};

/// What lasted this long begins anew with quick attempts.
pub(super) const STEADY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_TEXT: usize = 300;

/// A topic is `Out` (to be joined at a time), `Joining`, `Joined`, `Stale` (waits for a token: its own was refused) or `Refused`
/// (until there is another token). What is joining or joined is `Out` again when the socket is lost.
#[derive(Debug)]
pub(super) enum State {
    Out { at: Instant },
    Joining { reference: String, until: Instant },
    Joined { reference: String, since: Instant },
    Stale,
    Refused,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) private: bool,
    pub(super) state: State,
    pub(super) failures: u32,
    /// Its token was refused, and nothing joined since.
    pub(super) was_stale: bool,
    /// Why it is not joined, once that was told.
    pub(super) away: Option<String>,
    pub(super) queues: Vec<Arc<Queue>>,
}

impl Channel {
    pub(super) fn tell(&self, event: &Event) {
        for queue in &self.queues {
            queue.push(event.clone());
        }
    }

    pub(super) fn tell_away(&mut self, why: &str) {
        if self.away.is_none() {
            self.away = Some(why.to_owned());
            self.tell(&Event::Away { why: why.to_owned() });
        }
    }

    pub(super) fn retry(&mut self, why: &str) {
        if matches!(self.state, State::Joined { since, .. } if since.elapsed() >= STEADY) {
            self.failures = 0;
        }
        self.state = State::Out { at: Instant::now() + pause(self.failures, LONGEST_PAUSE) };
        self.failures = self.failures.saturating_add(1);
        self.tell_away(why);
    }

    pub(super) fn refuse(&mut self, reason: String) {
        self.tell(&Event::Refused(reason));
        self.state = State::Refused;
    }

    /// The join on the server that this is, or will be.
    pub(super) fn reference(&self) -> Option<&str> {
        match &self.state {
            State::Joining { reference, .. } | State::Joined { reference, .. } => Some(reference),
            _ => None,
        }
    }
}

/// Quick at first, twice as long each time, and never in step with other clients.
pub(super) fn pause(failures: u32, longest: Duration) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(longest);
    whole.mul_f64(rand::rng().random_range(0.5..1.0))
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

pub(super) fn words(value: &Value) -> String {
    match value {
        Value::String(text) => shortened(text),
        other => shortened(&other.to_string()),
    }
}

/// A broadcast in a frame of its own kind, or in text.
pub(super) fn broadcast(payload: Payload) -> Option<Broadcast> {
    #[derive(Deserialize)]
    struct Text<'a> {
        event: String,
        #[serde(borrow)]
        payload: Option<&'a RawValue>,
        #[serde(borrow)]
        meta: Option<&'a RawValue>,
    }
    match payload {
        Payload::Broadcast(broadcast) => Some(broadcast),
        Payload::Json(raw) => {
            let Text { event, payload, meta } = serde_json::from_str(raw.get()).ok()?;
            let body = Bytes::from(payload.map_or("null", RawValue::get).to_owned());
            Some(Broadcast { event, body: Body::Json(body), meta: meta.map(|meta| meta.get().to_owned()) })
        }
        Payload::Bytes(_) => None,
    }
}
