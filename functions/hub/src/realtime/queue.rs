//! What a subscriber is told, and the bounded queue between the socket and it. The socket never waits for a subscriber: one
//! that does not read loses broadcasts, and is told so.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::frame::{Body, Broadcast};

/// What waits for one subscriber at most, in events and in bytes of their payloads. One larger payload alone is kept.
const MOST_EVENTS: usize = 512;
const MOST_BYTES: usize = 4 << 20;

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// From now on nothing is missed. What was sent before this, and since the last time, is to be fetched.
    Joined {
        /// Whether it was joined before.
        again: bool,
    },
    /// A broadcast.
    Broadcast(Broadcast),
    /// What the server says about the topic.
    System {
        /// `ok` or `error`.
        status: String,
        /// In words.
        message: String,
    },
    /// The subscriber read too slowly: broadcasts were dropped here. It is still joined; what it missed is to be fetched.
    Gap,
    /// Not joined now: the socket is lost, could not be opened, or the server closed the topic. It is tried again, and this
    /// is told once until it is joined.
    Away {
        /// Why, without secrets.
        why: String,
    },
    /// The server does not let this caller in. It is not tried again until there is another token.
    Refused(String),
}

impl Event {
    fn bytes(&self) -> usize {
        match self {
            Self::Broadcast(Broadcast { event, body: Body::Json(body) | Body::Binary(body), meta }) => {
                event.len() + body.len() + meta.as_ref().map_or(0, String::len)
            }
            Self::System { message: text, .. } | Self::Away { why: text } | Self::Refused(text) => text.len(),
            Self::Joined { .. } | Self::Gap => 0,
        }
    }

    /// Says whether the topic is joined: the last of these must not be dropped.
    fn is_state(&self) -> bool {
        matches!(self, Self::Joined { .. } | Self::Away { .. } | Self::Refused(_))
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    held: Mutex<Held>,
    told: Notify,
}

#[derive(Debug, Default)]
struct Held {
    events: VecDeque<Event>,
    bytes: usize,
    joined_before: bool,
    over: bool,
}

impl Queue {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn joined(&self) {
        let again = std::mem::replace(&mut self.held().joined_before, true);
        self.push(Event::Joined { again });
    }

    pub(super) fn push(&self, event: Event) {
        let mut held = self.held();
        let bytes = event.bytes();
        let full = held.events.len() >= MOST_EVENTS || held.bytes + bytes > MOST_BYTES;
        if full && !held.events.is_empty() {
            // All of it goes: who has to fetch what it missed fetches the rest with it.
            let state = if event.is_state() {
                Some(event)
            } else {
                let at = held.events.iter().rposition(Event::is_state);
                at.and_then(|at| held.events.remove(at))
            };
            held.events.clear();
            held.events.push_back(Event::Gap);
            held.events.extend(state);
            held.bytes = held.events.iter().map(Event::bytes).sum();
        } else {
            held.bytes += bytes;
            held.events.push_back(event);
        }
        drop(held);
        self.told.notify_one();
    }

    /// Nothing will come any more.
    pub(super) fn end(&self) {
        self.held().over = true;
        self.told.notify_one();
    }

    pub(super) fn try_next(&self) -> Option<Event> {
        let mut held = self.held();
        let event = held.events.pop_front()?;
        held.bytes -= event.bytes();
        Some(event)
    }

    /// For one reader. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&self) -> Option<Event> {
        loop {
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if self.held().over {
                return None;
            }
            self.told.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn broadcast(size: usize) -> Event {
        let body = Body::Binary(Bytes::from(vec![0; size]));
        Event::Broadcast(Broadcast { event: "e".into(), body, meta: None })
    }

    #[test]
    fn a_full_queue_becomes_a_gap_and_keeps_the_newest_state() {
        let queue = Queue::default();
        queue.joined();
        for _ in 0..3 * MOST_EVENTS {
            queue.push(broadcast(1));
            assert!(queue.held().events.len() <= MOST_EVENTS);
        }
        let first: Vec<Event> = (0..2).filter_map(|_| queue.try_next()).collect();
        assert_eq!(first, [Event::Gap, Event::Joined { again: false }]);
        queue.push(Event::Away { why: "x".into() });
        for _ in 0..MOST_EVENTS {
            queue.push(broadcast(1));
        }
        assert_eq!(queue.try_next(), Some(Event::Gap));
        assert_eq!(queue.try_next(), Some(Event::Away { why: "x".into() }));
    }

    #[test]
    fn the_queue_is_bounded_in_bytes_but_takes_one_large_payload() {
        let queue = Queue::default();
        queue.push(broadcast(2 * MOST_BYTES));
        assert!(matches!(queue.try_next(), Some(Event::Broadcast(_))));
        assert_eq!(queue.held().bytes, 0);
        for _ in 0..5 {
            queue.push(broadcast(MOST_BYTES / 2 - 1));
            assert!(queue.held().bytes <= MOST_BYTES);
        }
        assert!(std::iter::from_fn(|| queue.try_next()).any(|event| event == Event::Gap));
    }

    #[tokio::test]
    async fn queued_events_come_before_the_end() {
        let queue = Queue::default();
        queue.push(Event::Gap);
        queue.end();
        assert_eq!(queue.next().await, Some(Event::Gap));
        assert_eq!(queue.next().await, None);
    }
}
