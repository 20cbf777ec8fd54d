//! What waits to be read by the worker: bounded, and without a copy between the agent's pipe and the worker's.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::frame::{HEADER, header};

/// The most that is read from an agent at once.
pub(super) const CHUNK: usize = 256 * 1024;
/// So much may wait before the agent has to.
const SIZE: usize = 1024 * 1024;

/// A buffer of a fixed size. Its pages are the system's until something is written to them, so a quiet agent costs nothing.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; SIZE], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether [`Outbox::window`] has a place for as much as is read at once.
    pub(super) fn has_room(&self) -> bool {
        SIZE - (self.end - self.start) >= HEADER + CHUNK
    }

    /// Where the content of the next frame may be written. Only where there is room.
    pub(super) fn window(&mut self) -> &mut [u8] {
        if SIZE - self.end < HEADER + CHUNK {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let at = self.end + HEADER;
        &mut self.bytes[at..at + CHUNK]
    }

    /// Makes a frame of the first bytes of the window.
    pub(super) fn commit(&mut self, kind: u8, length: usize) {
        self.bytes[self.end..self.end + HEADER].copy_from_slice(&header(kind, length));
        self.end += HEADER + length;
    }

    /// A small frame. Only where there is room.
    pub(super) fn push(&mut self, kind: u8, content: &[u8]) {
        self.window()[..content.len()].copy_from_slice(content);
        self.commit(kind, content.len());
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Writes what the pipe takes.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub(super) fn flush(&mut self, pipe: impl AsFd) -> Result<(), Errno> {
        while !self.is_empty() {
            match nix::unistd::write(pipe.as_fd(), &self.bytes[self.start..self.end]) {
                Ok(count) => self.start += count,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.clear();
        Ok(())
    }
}
