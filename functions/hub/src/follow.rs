//! Following a conversation from a terminal: by number, from the last one seen, so that nothing is missed or shown twice.

use std::time::Duration;

use uuid::Uuid;

use crate::{error::Result, hub::Hub, types::Message};

const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(1);
const PAGE: i32 = 200;

/// One conversation, read as it grows. Nothing notifies of messages (that would cost every message a database-wide lock), so
/// it asks: every 100 ms while something happens, slower to 1 s while nothing does.
#[derive(Debug)]
pub struct Follow {
    hub: Hub,
    channel: Uuid,
    thread: Option<Uuid>,
    after: i64,
    pause: Duration,
    ask_at_once: bool,
}

impl Follow {
    /// Follows a channel's flat conversation, or a thread, from behind message number `after`.
    #[must_use]
    pub fn new(hub: &Hub, channel: Uuid, thread: Option<Uuid>, after: i64) -> Self {
        Self { hub: hub.clone(), channel, thread, after, pause: QUICK, ask_at_once: true }
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

    /// Asks once, after the pause that is due; may give nothing. For callers that look at something else between.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub async fn look(&mut self) -> Result<Vec<Message>> {
        if !self.ask_at_once {
            tokio::time::sleep(self.pause).await;
        }
        self.ask_at_once = false;
        let messages = match self.hub.messages_since(self.channel, self.after, self.thread, PAGE).await {
            Ok(messages) => messages,
            Err(error) if error.is_transient() => {
                tracing::debug!(error = %error, "the conversation can not be read now; asking again");
                self.pause = SLOW;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        match messages.last() {
            Some(last) => {
                self.after = last.seq;
                self.pause = QUICK;
                self.ask_at_once = i32::try_from(messages.len()).is_ok_and(|count| count >= PAGE);
            }
            None => self.pause = (self.pause * 3 / 2).min(SLOW),
        }
        Ok(messages)
    }
}
