//! Following a conversation from a terminal: by number, from the last one seen, so that nothing is missed or shown twice.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::{
    error::Result,
    hub::Hub,
    realtime::{
        Event, Subscription, Topic,
        frame::{Body, Broadcast},
    },
    types::Message,
};

const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(1);
/// The net under Realtime: what no broadcast told is found after this.
const NET: Duration = Duration::from_secs(15);
const PAGE: i32 = 200;

/// One conversation, read as it grows.
///
/// Over a project's URL it is told: it joins the conversation's private topic, and asks by number where it can not know that it
/// heard everything. While it is not joined, and over Postgres, it only asks: every 100 ms while something happens, slower to
/// 1 s while nothing does. (Postgres notifies of no messages: that would cost each of them a database-wide lock.)
#[derive(Debug)]
pub struct Follow {
    hub: Hub,
    channel: Uuid,
    thread: Option<Uuid>,
    after: i64,
    /// How long after an answer without messages it asks again.
    pause: Duration,
    ask_at: Instant,
    told: Option<Told>,
    /// The highest number that was told. Realtime reads the log, and a commit is in the log a moment before it is seen: an answer
    /// below this is asked for again.
    told_up_to: i64,
}

/// The conversation's topic.
#[derive(Debug)]
struct Told {
    subscription: Subscription,
    joined: bool,
    /// Whether it was logged that it has to ask.
    said: bool,
}

/// What a broadcast of a message is to who has seen the conversation up to a number.
#[derive(Debug, PartialEq)]
enum Heard {
    /// Nothing new.
    Nothing,
    /// The next message.
    Next(Box<Message>),
    /// There is more than this tells, up to a number at least: ask.
    More(i64),
}

impl Follow {
    /// Follows a channel's flat conversation, or a thread, from behind message number `after`. Must be called inside a runtime.
    #[must_use]
    pub fn new(hub: &Hub, channel: Uuid, thread: Option<Uuid>, after: i64) -> Self {
        let topic = match thread {
            Some(thread) => format!("thread:{thread}"),
            None => format!("channel:{channel}"),
        };
        let told = match hub {
            Hub::Postgres(_) => None,
            Hub::Api(api) => api.realtime().ok().map(|realtime| Told {
                subscription: realtime.join(Topic::private(topic)),
                joined: false,
                said: false,
            }),
        };
        Self { hub: hub.clone(), channel, thread, after, pause: QUICK, ask_at: Instant::now(), told, told_up_to: 0 }
    }

    /// The number of the last message it gave.
    #[must_use]
    pub fn after(&self) -> i64 {
        self.after
    }

    /// The next messages, in order, at least one. May be dropped while it waits: nothing is lost. What passes by itself (the
    /// database restarts) is waited out.
    ///
    /// # Errors
    /// What [`Hub::messages_since`] says, unless it passes by itself.
    pub async fn next(&mut self) -> Result<Vec<Message>> {
        loop {
            let messages = self.look().await?;
            if !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// The next messages, or none after a while, at most 1 s and one answer. For callers that look at something else between.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub async fn look(&mut self) -> Result<Vec<Message>> {
        let until = Instant::now() + SLOW;
        while self.ask_at > Instant::now() {
            let Some(told) = &mut self.told else {
                sleep_until(self.ask_at.min(until)).await;
                break;
            };
            match timeout_at(self.ask_at.min(until), told.subscription.next()).await {
                Ok(Some(event)) => {
                    let mut messages = Vec::from_iter(self.hear(event));
                    // What is there already comes along.
                    while let Some(event) = self.told.as_mut().and_then(|told| told.subscription.try_next()) {
                        messages.extend(self.hear(event));
                    }
                    if !messages.is_empty() {
                        return Ok(messages);
                    }
                }
                Ok(None) => {
                    self.told = None;
                    self.ask_at = Instant::now();
                }
                Err(_) => break,
            }
        }
        if self.ask_at > Instant::now() { Ok(Vec::new()) } else { self.ask().await }
    }

    async fn ask(&mut self) -> Result<Vec<Message>> {
        let messages = match self.hub.messages_since(self.channel, self.after, self.thread, PAGE).await {
            Ok(messages) => messages,
            Err(error) if error.is_transient() => {
                tracing::debug!(error = %error, "the conversation can not be read now; asking again");
                self.pause = SLOW;
                self.ask_at = Instant::now() + SLOW;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let whole_page = i32::try_from(messages.len()).is_ok_and(|count| count >= PAGE);
        match messages.last() {
            Some(last) => {
                self.after = last.seq;
                self.pause = QUICK;
            }
            None => self.pause = (self.pause * 3 / 2).min(SLOW),
        }
        let joined = self.told.as_ref().is_some_and(|told| told.joined);
        self.ask_at = Instant::now();
        if !whole_page {
            self.ask_at += if joined && self.after >= self.told_up_to { NET } else { self.pause };
        }
        Ok(messages)
    }

    /// What an event adds to the conversation.
    fn hear(&mut self, event: Event) -> Option<Message> {
        let now = Instant::now();
        let told = self.told.as_mut()?;
        match event {
            Event::Broadcast(broadcast) => match heard(&broadcast, self.after, self.thread) {
                Heard::Nothing => {}
                Heard::Next(message) => {
                    self.after = message.seq;
                    return Some(*message);
                }
                Heard::More(up_to) => {
                    self.told_up_to = self.told_up_to.max(up_to);
                    self.pause = QUICK;
                    self.ask_at = now;
                }
            },
            Event::Joined { .. } => {
                if std::mem::take(&mut told.said) {
                    tracing::info!(channel.id = %self.channel, "hearing realtime again");
                }
                told.joined = true;
                self.ask_at = now;
            }
            Event::Gap => self.ask_at = now,
            Event::Away { why } | Event::Refused(why) => {
                if !std::mem::replace(&mut told.said, true) {
                    tracing::warn!(channel.id = %self.channel, realtime.fault = %why, "not hearing realtime: asking instead, until it works");
                }
                told.joined = false;
                self.pause = QUICK;
                self.ask_at = self.ask_at.min(now + QUICK);
            }
            Event::System { status, message } => {
                tracing::debug!(channel.id = %self.channel, realtime.status = %status, realtime.message = %message, "realtime says");
            }
        }
        None
    }
}

fn heard(broadcast: &Broadcast, after: i64, thread: Option<Uuid>) -> Heard {
    #[derive(Deserialize)]
    struct Reference {
        seq: Option<i64>,
        #[serde(default)]
        truncated: bool,
        #[serde(default)]
        refetch: bool,
    }
    let ("message", Body::Json(body)) = (broadcast.event.as_str(), &broadcast.body) else { return Heard::Nothing };
    let Ok(reference) = serde_json::from_slice::<Reference>(body) else { return Heard::More(0) };
    match reference.seq {
        Some(seq) if seq <= after => return Heard::Nothing,
        Some(seq) if seq == after + 1 && !reference.truncated && !reference.refetch => {}
        // Numbers have no gaps: what lies between was sent while nobody listened, or is on its way by another.
        seq => return Heard::More(seq.unwrap_or(0)),
    }
    match serde_json::from_slice::<Message>(body) {
        Ok(message) if message.task_thread_id == thread => Heard::Next(Box::new(message)),
        // Of another conversation: its numbers say nothing here.
        Ok(_) => Heard::Nothing,
        Err(_) => Heard::More(0),
    }
}
