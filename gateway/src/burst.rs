//! Messages of a channel in a row, encoded once for all its subscribers, in each form that one of them speaks.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tidegate_pipeline::body::Body;
use tidegate_proto::deliver as prefix;
use tidegate_proto::framing::put_varint;

/// Messages whose seqs follow each other, or that are stored nowhere: what subscribers get at once.
#[derive(Debug)]
pub struct Burst {
    timeline: Arc<str>,
    /// The seq of the first message; 0: they are stored nowhere.
    first: u64,
    bodies: Box<[Body]>,
    bytes: usize,
    /// How many were sent at each time, in ms since 1970.
    sent: SmallVec<[(i64, u64); 2]>,
    is_traced: bool,
    frames: OnceLock<Bytes>,
    texts: OnceLock<Bytes>,
}

impl Burst {
    /// Messages of a timeline, cut into bursts: at most so many messages and bytes, that each finds room of its own on
    /// its way. A larger message is one by itself.
    pub fn cut(timeline: &Arc<str>, messages: Vec<(u64, Body)>) -> Vec<Arc<Self>> {
        let mut bursts = Vec::new();
        let (mut first, mut bodies, mut bytes) = (0, Vec::new(), 0);
        for (seq, body) in messages {
            let length = body.bytes().len();
            let is_another = seq != if first == 0 { 0 } else { first + bodies.len() as u64 };
            let is_full = bodies.len() == MAX_MESSAGES || bytes + length > MAX_BYTES;
            if !bodies.is_empty() && (is_another || is_full) {
                bursts.push(Self::new(timeline, first, std::mem::take(&mut bodies)));
                bytes = 0;
            }
            if bodies.is_empty() {
                first = seq;
            }
            bytes += length;
            bodies.push(body);
        }
        if !bodies.is_empty() {
            bursts.push(Self::new(timeline, first, bodies));
        }
        bursts
    }

    fn new(timeline: &Arc<str>, first: u64, bodies: Vec<Body>) -> Arc<Self> {
        let mut sent = SmallVec::<[(i64, u64); 2]>::new();
        for body in &bodies {
            match sent.last_mut() {
                Some((time, count)) if *time == body.send_time() => *count += 1,
                _ => sent.push((body.send_time(), 1)),
            }
        }
        Arc::new(Self {
            timeline: timeline.clone(),
            first,
            bytes: bodies.iter().map(|body| body.bytes().len()).sum(),
            is_traced: bodies.iter().any(|body| body.traceparent().is_some()),
            bodies: bodies.into(),
            sent,
            frames: OnceLock::new(),
            texts: OnceLock::new(),
        })
    }

    /// As Deliver names it.
    pub fn timeline(&self) -> &Arc<str> {
        &self.timeline
    }

    /// Whether the messages are stored nowhere, and have no seq.
    pub fn is_volatile(&self) -> bool {
        self.first == 0
    }

    /// The seq of the first message; 0 if it is stored nowhere.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The seq of the last message; 0 if it is stored nowhere.
    pub fn last(&self) -> u64 {
        self.seq(self.count() - 1)
    }

    /// How many messages; at least one.
    pub fn count(&self) -> u64 {
        self.bodies.len() as u64
    }

    /// Bytes of the bodies.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages with their seqs.
    pub fn messages(&self) -> impl Iterator<Item = (u64, &Body)> {
        (0..).zip(&self.bodies).map(|(place, body)| (self.seq(place), body))
    }

    /// How many were sent at each time, in ms since 1970.
    pub fn sent(&self) -> &[(i64, u64)] {
        &self.sent
    }

    /// Notes in the traces of those that have one that they were delivered.
    pub fn trace(&self) {
        if self.is_traced {
            self.bodies.iter().for_each(|body| body.trace("deliver"));
        }
    }

    /// The lane of their conversation.
    pub fn lane_hash(&self) -> u32 {
        self.bodies[0].lane_hash()
    }

    /// The Deliver frames, each with its length.
    pub fn frames(&self) -> &Bytes {
        self.frames.get_or_init(|| {
            let mut frames = BytesMut::with_capacity(self.bytes + self.bodies.len() * MAX_PREFIX_BYTES);
            for (seq, body) in self.messages() {
                put_frame(&mut frames, &self.timeline, seq, body);
            }
            frames.freeze()
        })
    }

    /// The same as texts, as `encode` makes them of the messages.
    pub fn texts(&self, encode: impl FnOnce() -> Bytes) -> &Bytes {
        self.texts.get_or_init(encode)
    }

    fn seq(&self, place: u64) -> u64 {
        if self.is_volatile() { 0 } else { self.first + place }
    }
}

/// Appends a Deliver frame with its length.
fn put_frame(out: &mut BytesMut, timeline: &str, seq: u64, body: &Body) {
    let bytes = body.bytes();
    put_varint(out, prefix::frame_bytes(timeline, seq, bytes.len()) as u64);
    prefix::put_prefix(out, timeline, seq, bytes.len());
    out.extend_from_slice(bytes);
}

/// A quarter of the messages of channels that wait for a session.
const MAX_MESSAGES: usize = 64;
/// A fifth of the least outbox that can be set.
const MAX_BYTES: usize = 16 * 1024;
/// Lengths, keys, seq, and the longest name of a channel.
const MAX_PREFIX_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::queue::WriteQueue;
    use bytes::Buf as _;

    fn message(seq: u64, bytes: usize) -> (u64, Body) {
        (seq, Body::new(&vec![b'x'; bytes], "c:news", ("l", "s"), 1 + seq.cast_signed() / 3, seq))
    }

    fn cut(messages: impl IntoIterator<Item = (u64, usize)>) -> Vec<Arc<Burst>> {
        let messages = messages.into_iter().map(|(seq, bytes)| message(seq, bytes)).collect();
        Burst::cut(&"c:news".into(), messages)
    }

    #[test]
    fn what_follows_each_other_goes_together_up_to_the_bounds() {
        let shape = |bursts: Vec<Arc<Burst>>| {
            bursts.iter().map(|burst| (burst.first(), burst.last(), burst.count())).collect::<Vec<_>>()
        };
        assert_eq!(shape(cut([])), []);
        assert_eq!(shape(cut((5..=7).map(|seq| (seq, 10)))), [(5, 7, 3)]);
        assert_eq!(
            shape(cut([(5, 10), (7, 10), (7, 10), (6, 10)])),
            [(5, 5, 1), (7, 7, 1), (7, 7, 1), (6, 6, 1)]
        );
        assert_eq!(shape(cut([(0, 10), (0, 10), (1, 10), (0, 10)])), [(0, 0, 2), (1, 1, 1), (0, 0, 1)]);
        assert_eq!(shape(cut((1..=100).map(|seq| (seq, 1)))), [(1, 64, 64), (65, 100, 36)]);
        assert_eq!(
            shape(cut([(1, 9_000), (2, 9_000), (3, 60_000), (4, 1)])),
            [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1)]
        );
    }

    #[test]
    fn the_frames_are_those_of_the_messages_one_by_one() {
        let burst = cut((1..=7).map(|seq| (seq, 200 * seq as usize))).remove(0);
        let mut queue = WriteQueue::default();
        burst.messages().for_each(|(seq, body)| queue.put_deliver("c:news", seq, body));
        assert_eq!(*burst.frames(), queue.copy_to_bytes(queue.remaining()));
        assert_eq!(burst.sent(), [(1, 2), (2, 3), (3, 2)]);
    }
}
