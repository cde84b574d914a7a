//! The prefix of a Deliver frame, so that one encoded message serves every recipient: the bytes of
//! `ServerFrame { deliver: Deliver { timeline, seq, msg } }` are this prefix followed by the encoded `Msg`, which is
//! the frame's last field. The recipient's seq stands in the prefix, beside the body (ARCHITECTURE.md "A message's
//! way").

use bytes::{BufMut, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

/// Appends the prefix, without a frame length, for a body of `body_bytes` encoded bytes. Returns nothing; the caller
/// writes the body next.
pub fn put_prefix(out: &mut BytesMut, timeline: &str, seq: u64, body_bytes: usize) {
    let inner = inner_bytes(timeline, seq, body_bytes);
    encode_key(SERVER_FRAME_DELIVER, WireType::LengthDelimited, out);
    encode_varint(inner as u64, out);
    if !timeline.is_empty() {
        encode_key(DELIVER_TIMELINE, WireType::LengthDelimited, out);
        encode_varint(timeline.len() as u64, out);
        out.put_slice(timeline.as_bytes());
    }
    if seq != 0 {
        encode_key(DELIVER_SEQ, WireType::Varint, out);
        encode_varint(seq, out);
    }
    encode_key(DELIVER_MSG, WireType::LengthDelimited, out);
    encode_varint(body_bytes as u64, out);
}

/// The length of the whole frame, prefix and body, in bytes.
pub fn frame_bytes(timeline: &str, seq: u64, body_bytes: usize) -> usize {
    let inner = inner_bytes(timeline, seq, body_bytes);
    1 + encoded_len_varint(inner as u64) + inner
}

fn inner_bytes(timeline: &str, seq: u64, body_bytes: usize) -> usize {
    let timeline_bytes =
        if timeline.is_empty() { 0 } else { 1 + encoded_len_varint(timeline.len() as u64) + timeline.len() };
    let seq_bytes = if seq == 0 { 0 } else { 1 + encoded_len_varint(seq) };
    timeline_bytes + seq_bytes + 1 + encoded_len_varint(body_bytes as u64) + body_bytes
}

// Field numbers of client.proto; all below 16, so each key is one byte.
const SERVER_FRAME_DELIVER: u32 = 4;
const DELIVER_TIMELINE: u32 = 1;
const DELIVER_SEQ: u32 = 2;
const DELIVER_MSG: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Deliver, Msg, ServerFrame, deliver, server_frame};
    use proptest::prelude::*;
    use prost::Message as _;

    proptest! {
        #[test]
        fn prefix_and_body_are_what_prost_encodes(timeline in "[a-z:]{0,40}", seq in 0u64..=i64::MAX as u64, content in prop::collection::vec(any::<u8>(), 0..2000)) {
            let msg = Msg { send_id: "alice".into(), content: content.into(), ..Msg::default() };
            let body = msg.encode_to_vec();
            let mut bytes = BytesMut::new();
            put_prefix(&mut bytes, &timeline, seq, body.len());
            bytes.extend_from_slice(&body);

            let deliver = Deliver { timeline: timeline.clone(), seq: seq as i64, entry: Some(deliver::Entry::Msg(msg)) };
            let frame = ServerFrame { id: 0, kind: Some(server_frame::Kind::Deliver(deliver)) };
            prop_assert_eq!(&bytes[..], &frame.encode_to_vec()[..]);
            prop_assert_eq!(bytes.len(), frame_bytes(&timeline, seq, body.len()));
        }
    }
}
