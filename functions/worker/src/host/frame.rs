//! What goes through the two pipes between a worker and a host: a byte that says what it is, four with its length (little endian),
//! and so many bytes.

/// The bytes before a frame's content.
pub(super) const HEADER: usize = 5;

/// From the worker: bytes for the agent's standard input.
pub(super) const INPUT: u8 = 1;
/// From the worker: there will be no more of them.
pub(super) const CLOSE_INPUT: u8 = 2;
/// From the worker: end the agent. The content says for whom or why, for the record.
pub(super) const STOP: u8 = 3;
/// From the worker: the agent said its final word, so it has only to exit.
pub(super) const FINAL: u8 = 4;
/// From the worker: whether somebody is waited for, a byte. While it is, no time counts against the agent.
pub(super) const WAITING: u8 = 5;
/// From the host: the agent runs. Its process id, four bytes.
pub(super) const STARTED: u8 = 16;
/// From the host: what the agent wrote to standard output.
pub(super) const OUTPUT: u8 = 17;
/// From the host: what the agent wrote to standard error.
pub(super) const ERRORS: u8 = 18;
/// From the host, the last: all is over. The record, as JSON.
pub(super) const ENDED: u8 = 19;

pub(super) fn header(kind: u8, length: usize) -> [u8; HEADER] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [kind, a, b, c, d]
}

/// The kind and the length of the content, where the whole header is there.
pub(super) fn read_header(bytes: &[u8]) -> Option<(u8, usize)> {
    let [kind, a, b, c, d] = *bytes.first_chunk()?;
    Some((kind, usize::try_from(u32::from_le_bytes([a, b, c, d])).ok()?))
}

/// A whole frame.
pub(super) fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    [&header(kind, content.len()), content].concat()
}

/// Puts frames together from the pieces in which they arrive. For what is small.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let (kind, length) = read_header(&self.0)?;
        let content = self.0.get(HEADER..HEADER + length)?.to_vec();
        self.0.drain(..HEADER + length);
        Some((kind, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_together_from_pieces_of_any_size() {
        let stream = [frame(INPUT, b"hello"), frame(CLOSE_INPUT, b""), frame(STOP, &[0xff; 300])].concat();
        for size in [1, 2, 3, 7, 1000] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for piece in stream.chunks(size) {
                frames.push(piece);
                while let Some((kind, content)) = frames.next() {
                    seen.push((kind, content.len()));
                }
            }
            assert_eq!(seen, [(INPUT, 5), (CLOSE_INPUT, 0), (STOP, 300)], "in pieces of {size}");
        }
    }
}
