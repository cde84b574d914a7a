//! What a message of the bench carries: which stream it is of, its number there, and when it was due. Pure.

use std::time::Duration;

/// The stamp in a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Whose: the position of (sender, recipient) among all of the run.
    pub(super) stream: u32,
    /// 0, 1, 2, … within the stream.
    pub(super) number: u64,
    /// When it was due, since the run began.
    pub(super) due: Duration,
}

impl Stamp {
    /// The content, filled up to `bytes`.
    pub(super) fn content(self, bytes: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(bytes.max(STAMP_BYTES));
        content.extend_from_slice(&self.stream.to_be_bytes());
        content.extend_from_slice(&self.number.to_be_bytes());
        let due = u64::try_from(self.due.as_nanos()).unwrap_or(u64::MAX);
        content.extend_from_slice(&due.to_be_bytes());
        content.resize(bytes.max(STAMP_BYTES), b'.');
        content
    }

    /// The stamp of a content; `None` for one that is not of a bench.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let (stream, rest) = content.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (due, _) = rest.split_first_chunk()?;
        Some(Self {
            stream: u32::from_be_bytes(*stream),
            number: u64::from_be_bytes(*number),
            due: Duration::from_nanos(u64::from_be_bytes(*due)),
        })
    }
}

const STAMP_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back() {
        let stamp = Stamp { stream: 7, number: 1 << 40, due: Duration::from_micros(123_456) };
        for bytes in [0, STAMP_BYTES, 128] {
            let content = stamp.content(bytes);
            assert_eq!(content.len(), bytes.max(STAMP_BYTES));
            assert_eq!(Stamp::read(&content), Some(stamp));
        }
        assert_eq!(Stamp::read(&[0; STAMP_BYTES - 1]), None);
    }
}
