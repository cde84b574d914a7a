//! Bytes that wait to be written: small pieces gathered, large shared ones kept as they are.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use tidegate_pipeline::body::Body;
use tidegate_proto::framing::{put_frame, put_varint};
use tidegate_proto::v1::{Deliver, Gone, Receipt, ReceiptStatus, ServerFrame, deliver, server_frame};
use tidegate_proto::{deliver as prefix, v1};

/// A queue of length-delimited frames on their way to one stream. Implements [`Buf`], so `write_buf` and vectored
/// writes take from it directly.
#[derive(Debug, Default)]
pub struct WriteQueue {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    len: usize,
}

impl WriteQueue {
    /// Queues a frame with its length.
    pub fn put(&mut self, frame: &ServerFrame) {
        let before = self.tail.len();
        put_frame(&mut self.tail, frame);
        self.len += self.tail.len() - before;
    }

    /// Queues a Deliver frame around an already encoded body.
    pub fn put_deliver(&mut self, timeline: &str, seq: u64, body: &Body) {
        let bytes = body.bytes();
        let before = self.tail.len();
        put_varint(&mut self.tail, prefix::frame_bytes(timeline, seq, bytes.len()) as u64);
        prefix::put_prefix(&mut self.tail, timeline, seq, bytes.len());
        if bytes.len() < SHARE_FROM_BYTES {
            self.tail.extend_from_slice(bytes);
            self.len += self.tail.len() - before;
        } else {
            self.len += self.tail.len() - before + bytes.len();
            self.seal();
            self.chunks.push_back(bytes.clone());
        }
    }

    /// Queues bytes as they are: a frame with its length already, or of a transport that frames by itself.
    pub fn put_bytes(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Queues frames with their lengths that others have encoded and share.
    pub fn put_shared(&mut self, frames: &Bytes) {
        self.len += frames.len();
        if frames.len() < SHARE_FROM_BYTES {
            self.tail.extend_from_slice(frames);
        } else {
            self.seal();
            self.chunks.push_back(frames.clone());
        }
    }

    /// Everything that waits as shared chunks, for writers that take shared bytes and shorten what they took; they then
    /// say how much that was ([`WriteQueue::took`]).
    pub fn chunks_mut(&mut self) -> &mut [Bytes] {
        self.seal();
        self.chunks.make_contiguous()
    }

    /// After a write from [`WriteQueue::chunks_mut`]: `bytes` were taken, and with them the first `chunks` chunks whole.
    pub fn took(&mut self, chunks: usize, bytes: usize) {
        self.chunks.drain(..chunks);
        self.len -= bytes;
    }

    /// Whether all that waits is one small piece, cheaper copied than shared.
    pub fn is_small(&self) -> bool {
        self.chunks.is_empty() && self.tail.len() <= KEEP_BYTES
    }

    /// Forgets what waits, and says how much that was.
    pub fn clear(&mut self) -> usize {
        std::mem::take(self).len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for WriteQueue {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail, |chunk| chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let all =
            self.chunks.iter().map(|chunk| &**chunk).chain((!self.tail.is_empty()).then_some(&*self.tail));
        let mut count = 0;
        for (slot, chunk) in slices.iter_mut().zip(all) {
            *slot = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut bytes: usize) {
        self.len -= bytes;
        while let Some(front) = self.chunks.front_mut() {
            if bytes < front.len() {
                front.advance(bytes);
                return;
            }
            bytes -= front.len();
            self.chunks.pop_front();
        }
        self.tail.advance(bytes);
        if self.tail.is_empty() && self.tail.capacity() > KEEP_BYTES {
            // An idle connection keeps no large buffer.
            self.tail = BytesMut::new();
        }
    }
}

/// The frame for an entry whose body is gone.
pub fn gone_frame(timeline: &str, seq: u64) -> ServerFrame {
    let entry = Some(deliver::Entry::Gone(Gone {}));
    let deliver = Deliver { timeline: timeline.to_owned(), seq: seq.cast_signed(), entry };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Deliver(deliver)) }
}

/// The STORED receipt for an own message.
pub fn stored_frame(seq: u64, body: &Body) -> ServerFrame {
    let receipt = Receipt {
        local_id: body.local_id().to_owned(),
        server_id: body.server_id().to_owned(),
        send_time: body.send_time(),
        status: ReceiptStatus::Stored as i32,
        seq: seq.cast_signed(),
        conv_seq: body.conv_seq().cast_signed(),
        code: v1::Code::Ok as i32,
        ..Receipt::default()
    };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Receipt(receipt)) }
}

/// From this size on a body is shared instead of copied: below it a copy costs less than another chunk.
const SHARE_FROM_BYTES: usize = 1024;
/// The capacity an empty queue keeps.
const KEEP_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use tidegate_proto::framing::split_frame;
    use tidegate_proto::v1::Msg;

    fn body(content: usize) -> Body {
        let msg = Msg { local_id: "l".into(), content: vec![b'x'; content].into(), ..Msg::default() };
        Body::from_stored(&msg.encode_to_vec(), 9).unwrap()
    }

    #[test]
    fn frames_of_any_size_come_out_in_order() {
        for take in [1, 7, 1000, 100_000] {
            let mut queue = WriteQueue::default();
            let sizes = [10, 5000, 20, 3000, 3000, 1];
            for (seq, size) in sizes.iter().enumerate() {
                queue.put_deliver("", seq as u64 + 1, &body(*size));
                queue.put(&gone_frame("", 100));
            }
            let mut wire = BytesMut::new();
            while queue.has_remaining() {
                let bytes = take.min(queue.chunk().len());
                wire.extend_from_slice(&queue.chunk()[..bytes]);
                queue.advance(bytes);
            }
            let mut seqs = Vec::new();
            while let Some(frame) = split_frame(&mut wire, 10_000).unwrap() {
                let Some(server_frame::Kind::Deliver(deliver)) = ServerFrame::decode(frame).unwrap().kind
                else {
                    panic!("not a Deliver")
                };
                seqs.push(deliver.seq);
            }
            assert_eq!(seqs, [1, 100, 2, 100, 3, 100, 4, 100, 5, 100, 6, 100]);
        }
    }

    #[test]
    fn shared_chunks_are_all_there_is_and_nothing_is_left_of_what_is_forgotten() {
        let mut queue = WriteQueue::default();
        queue.put_deliver("", 1, &body(5000));
        queue.put_deliver("", 2, &body(5));
        let len = queue.len();
        let chunks = queue.chunks_mut();
        assert_eq!(chunks.iter().map(Bytes::len).sum::<usize>(), len);
        let first = chunks[0].len();
        queue.took(1, first);
        assert_eq!(queue.clear(), len - first);
        assert!(queue.is_empty() && !queue.has_remaining());
    }
}
