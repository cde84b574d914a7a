//! A stored message, encoded once and shared by every recipient and every transport (ARCHITECTURE.md "A message's
//! way").

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use tidegate_proto::v1::Msg;

use crate::trace::Step;

/// A message with its place in its conversation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Body(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Bytes,
    local_id: Box<str>,
    server_id: Box<str>,
    send_time: i64,
    conv_seq: u64,
    lane_hash: u32,
    trace: Option<Trace>,
}

#[derive(Debug)]
struct Trace {
    parent: Box<str>,
    /// Here, in this process.
    since: SystemTime,
}

impl Body {
    /// Adds `conv_seq` to an encoded `Msg` that has none; `conversation` chooses the lane.
    pub fn new(
        encoded: &[u8],
        conversation: &str,
        (local_id, server_id): (&str, &str),
        send_time: i64,
        conv_seq: u64,
    ) -> Self {
        let mut bytes = Vec::with_capacity(encoded.len() + CONV_SEQ_BYTES);
        bytes.extend_from_slice(encoded);
        // Fields of a protobuf message may come in any order, so the late one is simply appended.
        encode_key(MSG_CONV_SEQ, WireType::Varint, &mut bytes);
        encode_varint(conv_seq, &mut bytes);
        Self(Arc::new(Inner {
            bytes: bytes.into(),
            local_id: local_id.into(),
            server_id: server_id.into(),
            send_time,
            conv_seq,
            lane_hash: lane_hash(conversation),
            trace: None,
        }))
    }

    /// The body of a message as the store keeps it. An undecodable one is the store's damage: `None`.
    pub fn from_stored(encoded: &[u8], conv_seq: u64) -> Option<Self> {
        let msg = Msg::decode(encoded).ok()?;
        let ids = (&*msg.local_id, &*msg.server_id);
        Some(Self::new(encoded, &msg.conversation, ids, msg.send_time, conv_seq))
    }

    /// The body as another process has made it, copied out of what it came in. An undecodable one: `None`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes = Bytes::copy_from_slice(bytes);
        let msg = Msg::decode(bytes.clone()).ok()?;
        Some(Self(Arc::new(Inner {
            bytes,
            lane_hash: lane_hash(&msg.conversation),
            local_id: msg.local_id.into(),
            server_id: msg.server_id.into(),
            send_time: msg.send_time,
            conv_seq: msg.conv_seq.cast_unsigned(),
            trace: None,
        })))
    }

    /// The same as part of a trace, from now on.
    pub fn traced(mut self, traceparent: Option<&str>) -> Self {
        if let (Some(parent), Some(inner)) = (traceparent, Arc::get_mut(&mut self.0)) {
            inner.trace = Some(Trace { parent: parent.into(), since: SystemTime::now() });
        }
        self
    }

    /// Its trace, as a `traceparent`.
    pub fn traceparent(&self) -> Option<&str> {
        self.0.trace.as_ref().map(|trace| &*trace.parent)
    }

    /// Notes in its trace, if it has one, that something was done with it, from when it came into this process until now.
    pub fn trace(&self, name: &'static str) {
        if let Some(Trace { parent, since }) = &self.0.trace {
            drop(Step::of(parent, name, *since));
        }
    }

    /// The encoded `Msg`, without seq: that stands beside it in Deliver.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The message, with `seq` filled in; for the JSON forms.
    pub fn msg(&self, seq: u64) -> Msg {
        let mut msg = Msg::decode(self.0.bytes.clone()).expect("a body is made from an encoded Msg");
        msg.seq = seq.cast_signed();
        msg
    }

    /// The sender's own name for it.
    pub fn local_id(&self) -> &str {
        &self.0.local_id
    }

    /// The server's name for it.
    pub fn server_id(&self) -> &str {
        &self.0.server_id
    }

    /// ms since 1970.
    pub fn send_time(&self) -> i64 {
        self.0.send_time
    }

    /// Its seq in its conversation.
    pub fn conv_seq(&self) -> u64 {
        self.0.conv_seq
    }

    /// A hash of the conversation: modulo the number of lanes it is the lane.
    pub fn lane_hash(&self) -> u32 {
        self.0.lane_hash
    }
}

/// A hash of a conversation: modulo the number of lanes it is the lane.
pub fn lane_hash(conversation: &str) -> u32 {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    (hasher.hash_one(conversation) >> 32) as u32
}

/// `Msg.conv_seq` in message.proto.
const MSG_CONV_SEQ: u32 = 32;
/// Two bytes of key and at most ten of value.
const CONV_SEQ_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conv_seq_is_added_to_the_encoded_message() {
        let msg = Msg { send_id: "alice".into(), conversation: "d:alice:bob".into(), ..Msg::default() };
        let body = Body::from_stored(&msg.encode_to_vec(), 300).unwrap();
        assert_eq!(body.msg(7), Msg { conv_seq: 300, seq: 7, ..msg });
        assert!(Body::from_stored(&[0xff], 1).is_none());
    }

    #[test]
    fn a_body_comes_back_from_its_bytes() {
        let ids = ("l", "s");
        let msg = Msg { local_id: ids.0.into(), server_id: ids.1.into(), send_time: 9, ..Msg::default() };
        let msg = Msg { conversation: "d:alice:bob".into(), content: vec![7; 99].into(), ..msg };
        let body = Body::new(&msg.encode_to_vec(), "d:alice:bob", ids, 9, 300);
        let again = Body::from_bytes(body.bytes()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{body:?}"));
        assert!(Body::from_bytes(&[0xff]).is_none());
    }
}
