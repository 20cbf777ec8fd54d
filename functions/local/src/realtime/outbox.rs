//! What waits to be written to one socket: bounded, so that a reader that does not read costs a known amount of memory and
//! nobody else any time.

use axum::extract::ws::{Message, Utf8Bytes};
use hub::realtime::frame::Frame;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// So much may wait for a reader that is behind: a burst of many rows, not a connection that is stuck. What waits is shared with all
/// who wait for the same.
const LIMIT: usize = 8 * 1024 * 1024;
/// What a waiting frame costs beside its bytes, which sockets share.
const EACH: usize = 64;

/// A frame that many sockets share.
#[derive(Debug, Clone)]
pub struct Packet(Message);

impl Packet {
    fn size(&self) -> usize {
        EACH + match &self.0 {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// As the socket takes it.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.0
    }

    /// Its bytes, for tests without a socket.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
            _ => &[],
        }
    }
}

impl From<Frame> for Packet {
    fn from(frame: Frame) -> Self {
        Self(match frame {
            Frame::Text(text) => Message::Text(Utf8Bytes::from(text)),
            Frame::Binary(bytes) => Message::Binary(bytes),
        })
    }
}

/// Puts frames into the queue of one socket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    queue: mpsc::UnboundedSender<Packet>,
    waiting: Arc<AtomicUsize>,
    full: CancellationToken,
}

/// Takes frames out of the queue.
#[derive(Debug)]
pub struct Waiting {
    queue: mpsc::UnboundedReceiver<Packet>,
    waiting: Arc<AtomicUsize>,
    full: CancellationToken,
}

/// A queue for one socket.
#[must_use]
pub fn outbox() -> (Outbox, Waiting) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (waiting, full) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let outbox = Outbox { queue: sender, waiting: Arc::clone(&waiting), full: full.clone() };
    (outbox, Waiting { queue: receiver, waiting, full })
}

impl Outbox {
    /// Queues a frame, or gives the socket up: a gap would be silent, a closed socket is not.
    pub fn push(&self, packet: Packet) {
        let size = packet.size();
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        // One frame may be larger than the limit; it must then be the only one.
        if before > 0 && before + size > LIMIT {
            self.full.cancel();
        } else {
            // Whoever wrote the frames is gone: so is the socket.
            self.queue.send(packet).ok();
        }
    }

    /// Closes the socket, as if too much waited.
    pub fn give_up(&self) {
        self.full.cancel();
    }
}

impl Waiting {
    /// The next frame. `None` when nobody can queue any more, or when too much waited; who already waits here is not woken by that.
    pub async fn next(&mut self) -> Option<Packet> {
        if self.full.is_cancelled() {
            return None;
        }
        let packet = self.queue.recv().await?;
        self.waiting.fetch_sub(packet.size(), Ordering::Relaxed);
        Some(packet)
    }

    /// The next frame if it waits already.
    pub fn ready(&mut self) -> Option<Packet> {
        let packet = self.queue.try_recv().ok()?;
        self.waiting.fetch_sub(packet.size(), Ordering::Relaxed);
        Some(packet)
    }

    /// Cancelled once too much waited.
    #[must_use]
    pub fn full(&self) -> CancellationToken {
        self.full.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_sent_in_order_until_the_limit_is_reached() {
        let (outbox, mut waiting) = outbox();
        let frame = |text: &str| Packet::from(Frame::Text(text.into()));
        outbox.push(frame("a"));
        outbox.push(frame("b"));
        assert_eq!(waiting.next().await.unwrap().bytes(), b"a");
        assert_eq!(waiting.ready().unwrap().bytes(), b"b");
        // One that is alone may be as large as it is.
        outbox.push(frame(&"x".repeat(LIMIT * 2)));
        assert_eq!(waiting.next().await.unwrap().bytes().len(), LIMIT * 2);
        for _ in 0..LIMIT / 1024 {
            outbox.push(frame(&"x".repeat(1024)));
        }
        assert!(waiting.full().is_cancelled());
        assert!(waiting.next().await.is_none());
    }
}
