//! What a program holds: [`Realtime`] and its subscriptions. The socket belongs to a task of its own (`session.rs`), so that
//! waiting for an event can share a `select!` with anything and be dropped at any moment.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tokio::sync::mpsc;

use super::{
    queue::{Event, Queue},
    session::Session,
    socket::{self, Dial},
};
use crate::error::Result;

/// A token, and when to ask for the next one.
#[derive(Debug, Clone)]
pub struct Token {
    /// A JWT; or the key of the socket, which then speaks for itself.
    pub access: SecretString,
    /// After this there is a newer one. `None`: never.
    pub renew_in: Option<Duration>,
}

/// Where tokens come from.
pub trait TokenSource: Send + Sync + 'static {
    /// The token for now. `spent` is one that the server refused: the same again means that there is no other.
    fn token(&self, spent: Option<SecretString>) -> BoxFuture<'_, Result<Token>>;
}

/// A topic to join.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Its name, without `realtime:`.
    pub name: String,
    /// Whether policies decide who may join it. A private and a public topic of one name are two, and one socket has one of them.
    pub private: bool,
}

impl Topic {
    /// A private topic.
    #[must_use]
    pub fn private(name: impl Into<String>) -> Self {
        Self { name: name.into(), private: true }
    }

    /// A topic open to everybody who has the key.
    #[must_use]
    pub fn public(name: impl Into<String>) -> Self {
        Self { name: name.into(), private: false }
    }
}

#[derive(Debug)]
pub(super) enum Command {
    Join { topic: Topic, queue: Arc<Queue> },
    Leave { topic: Topic, queue: Arc<Queue> },
}

/// A project's Realtime. Cheap to clone; clones share one socket, which is open while any topic is subscribed to.
#[derive(Clone)]
pub struct Realtime {
    commands: mpsc::UnboundedSender<Command>,
}

impl std::fmt::Debug for Realtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Realtime").finish_non_exhaustive()
    }
}

impl Realtime {
    /// The Realtime of the project at `base` (`http(s)://…`), with the gateway's `key`, as whom `tokens` says. Nothing is sent
    /// yet. Must be called inside a runtime.
    ///
    /// # Errors
    /// [`crate::Error::Config`] if `base` is no such URL.
    pub fn connect(base: &str, key: &SecretString, tokens: impl TokenSource) -> Result<Self> {
        Ok(Self::over(socket::dial(base, key)?, key.clone(), tokens))
    }

    pub(super) fn over(dial: Dial, key: SecretString, tokens: impl TokenSource) -> Self {
        let (sender, commands) = mpsc::unbounded_channel();
        tokio::spawn(Session::new(dial, key, Arc::new(tokens), commands).run());
        Self { commands: sender }
    }

    /// Subscribes to a topic, until the subscription is dropped. Several may subscribe to one topic.
    #[must_use]
    pub fn join(&self, topic: Topic) -> Subscription {
        let queue = Arc::new(Queue::default());
        let subscription =
            Subscription { topic: topic.clone(), queue: Arc::clone(&queue), commands: self.commands.clone() };
        if self.commands.send(Command::Join { topic, queue }).is_err() {
            // The runtime it ran in is gone.
            subscription.queue.end();
        }
        subscription
    }
}

/// One subscriber of a topic.
#[derive(Debug)]
pub struct Subscription {
    topic: Topic,
    queue: Arc<Queue>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Subscription {
    /// The next event; `None` once there will be none any more. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Option<Event> {
        self.queue.next().await
    }

    /// An event that is already there.
    pub fn try_next(&mut self) -> Option<Event> {
        self.queue.try_next()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.commands.send(Command::Leave { topic: self.topic.clone(), queue: Arc::clone(&self.queue) }).ok();
    }
}
