//! Request targets as REST's clients write them. `select=data->>id` stands in PostgREST's documentation like this, and curl sends it like
//! this; hyper takes no `"`, `<`, `>` and nothing beyond ASCII there, and cuts at `#`. So these bytes are percent-encoded in the line that
//! begins a request, before hyper sees it, and nowhere else.
//!
//! Where a request begins is known as long as the one before it says how long it is. After one that does not (chunks, another protocol) the
//! rest of the connection stays as it is.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Header lines that matter here are shorter.
const LINE: usize = 256;
/// As many bytes at once.
const CHUNK: usize = 8 * 1024;

/// A connection whose request targets hyper can read.
pub struct Lenient<S> {
    inner: S,
    reader: Reader,
    /// Read and encoded, but not yet taken.
    ready: Vec<u8>,
    taken: usize,
}

impl<S> Lenient<S> {
    /// Over a connection from its first byte on.
    pub fn new(inner: S) -> Self {
        Self { inner, reader: Reader::default(), ready: Vec::new(), taken: 0 }
    }
}

/// Where in a request the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the method.
    Method,
    /// In the target.
    Target,
    /// Behind it, up to the line's end.
    Version,
    /// In a line of the head.
    Header,
    /// In the body, of which so much is left.
    Body(u64),
    /// Nothing is looked at any more.
    Unknown,
}

struct Reader {
    at: At,
    /// The line so far, up to [`LINE`].
    line: Vec<u8>,
    length: u64,
    unknown: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self { at: At::Method, line: Vec::new(), length: 0, unknown: false }
    }
}

impl Reader {
    /// Reads bytes and gives them on.
    fn read(&mut self, mut bytes: &[u8], to: &mut Vec<u8>) {
        while let [byte, rest @ ..] = bytes {
            match self.at {
                At::Unknown => return to.extend_from_slice(bytes),
                At::Body(left) => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    to.extend_from_slice(&bytes[..now]);
                    bytes = &bytes[now..];
                    let left = left - now as u64;
                    self.at = if left == 0 { At::Method } else { At::Body(left) };
                    continue;
                }
                At::Target if *byte != b' ' && *byte != b'\n' => encode(*byte, to),
                _ => {
                    to.push(*byte);
                    self.pass(*byte);
                }
            }
            bytes = rest;
        }
    }

    fn pass(&mut self, byte: u8) {
        match (self.at, byte) {
            (At::Method, b' ') => {
                // HTTP/2 begins like this.
                self.at = if self.line == b"PRI" { At::Unknown } else { At::Target };
                self.line.clear();
            }
            // Empty lines between requests.
            (At::Method, b'\r' | b'\n') => self.line.clear(),
            (At::Header, b'\n') => self.end_line(),
            (At::Method, byte) if self.line.len() < LINE => self.line.push(byte),
            (At::Header, byte) if self.line.len() < LINE => self.line.push(byte.to_ascii_lowercase()),
            (At::Target, b' ') => self.at = At::Version,
            (At::Target | At::Version, b'\n') => self.at = At::Header,
            _ => {}
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            self.at = match (self.unknown, self.length) {
                (true, _) => At::Unknown,
                (false, 0) => At::Method,
                (false, length) => At::Body(length),
            };
            self.length = 0;
        } else if let Some(value) = line.strip_prefix(b"content-length:") {
            match std::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok()) {
                Some(length) => self.length = length,
                None => self.unknown = true,
            }
        } else if line.starts_with(b"transfer-encoding:") || line.starts_with(b"upgrade:") {
            self.unknown = true;
        }
    }
}

fn encode(byte: u8, to: &mut Vec<u8>) {
    if matches!(byte, b'"' | b'<' | b'>' | b'#') || byte >= 0x80 {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        to.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    } else {
        to.push(byte);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.taken == this.ready.len() {
            if this.reader.at == At::Unknown {
                return Pin::new(&mut this.inner).poll_read(cx, buf);
            }
            let mut chunk = [0; CHUNK];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            this.ready.clear();
            this.taken = 0;
            this.reader.read(chunk.filled(), &mut this.ready);
        }
        let now = buf.remaining().min(this.ready.len() - this.taken);
        buf.put_slice(&this.ready[this.taken..this.taken + now]);
        this.taken += now;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces of so many bytes.
    fn through(bytes: &[u8], size: usize) -> Vec<u8> {
        let (mut reader, mut to) = (Reader::default(), Vec::new());
        bytes.chunks(size).for_each(|piece| reader.read(piece, &mut to));
        to
    }

    fn check(given: &str, expected: &str) {
        for size in [1, 2, 3, 7, 1000] {
            let got = String::from_utf8(through(given.as_bytes(), size)).unwrap();
            assert_eq!(got, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn targets_are_encoded_and_bodies_are_not() {
        check(
            "POST /x?a=<\"b\">&c=ü#d HTTP/1.1\r\nHost: <h>\r\nContent-LENGTH: 17\r\n\r\nGET /\"> HTTP/1.1\nGET /y?d->>e HTTP/1.1\r\n\r\n",
            "POST /x?a=%3C%22b%22%3E&c=%C3%BC%23d HTTP/1.1\r\nHost: <h>\r\nContent-LENGTH: 17\r\n\r\nGET /\"> HTTP/1.1\nGET /y?d-%3E%3Ee HTTP/1.1\r\n\r\n",
        );
    }

    #[test]
    fn after_a_request_of_unknown_length_nothing_is_touched() {
        for header in ["Transfer-Encoding: chunked", "Upgrade: websocket", "Content-Length: many"] {
            let text = format!("GET /> HTTP/1.1\r\n{header}\r\n\r\nGET /> HTTP/1.1\r\n\r\n");
            check(&text, &text.replacen("/>", "/%3E", 1));
        }
        check("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n>>", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n>>");
    }
}
