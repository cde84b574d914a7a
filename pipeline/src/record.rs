//! A message on its way from a session to the store: checked, complete but for its seqs, with its origin.

use std::sync::Arc;

use prost::Message as _;
use smallvec::{SmallVec, smallvec};
use tidegate_proto::Refusal;
use tidegate_proto::id::{LocalId, UserId};
use tidegate_proto::message::{self, Target};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Msg;

/// A message that passed every check a gateway can make. What goes into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who sends it; from the token.
    pub sender: UserId,
    /// The sender's own name for it; with `sender` it names the message (ARCHITECTURE.md invariant 4).
    pub local_id: LocalId,
    /// 32 lower-case hex digits.
    pub server_id: String,
    /// To whom.
    pub target: Target,
    /// The conversation it belongs to.
    pub conversation: Timeline,
    /// ms since 1970, the gateway's clock.
    pub send_time: i64,
    /// ms since 1970 after which its entries are sent as gone; 0: never.
    pub expire_at: i64,
    /// The hash that decides what "the same body" is.
    pub hash: [u8; 32],
    /// The encoded `Msg`, with every field but seq and conv_seq.
    pub encoded: Vec<u8>,
    /// The session to tell STORED or REJECTED; none for a backend's message.
    pub origin: Option<Origin>,
    /// The trace it belongs to, as the header of the same name has it (W3C Trace Context); none if it is not traced.
    pub traceparent: Option<Box<str>>,
}

/// Why a message that comes out of a log is none that a gateway has put in.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not an encoded `Msg`.
    #[error("its message cannot be decoded")]
    Undecodable(#[from] prost::DecodeError),
    /// A check that every gateway makes.
    #[error("its message breaks a rule: {}", .0.message)]
    Refused(Refusal),
    /// Something that the gateway computes is not what it computes.
    #[error("its message has another {0} than it must")]
    Differs(&'static str),
}

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The gateway's id.
    pub gateway: Arc<str>,
    /// The gateway's incarnation; with another one the session is gone.
    pub incarnation: u64,
    /// The session's number within the incarnation.
    pub session: u64,
}

impl Record {
    /// Checks `msg` as a client sent it and completes it: send_id, server_id, send_time, conversation; what a client
    /// may not set is dropped; what only a backend may, where there is an origin. An empty local_id gets `drawn`.
    ///
    /// Errors: TOO_LARGE or INVALID_ARGUMENT, with the field that is wrong.
    pub fn new(
        mut msg: Msg,
        sender: &UserId,
        send_time: i64,
        drawn: impl FnOnce() -> LocalId,
        origin: Option<Origin>,
    ) -> Result<Self, Refusal> {
        if origin.is_some() {
            (msg.nickname, msg.said_at) = (String::new(), String::new());
        }
        let target = message::check(&msg)?;
        let local_id = if msg.local_id.is_empty() { drawn() } else { LocalId::new(&msg.local_id)? };
        let conversation = target.conversation(sender);
        let hash = message::body_hash(&msg);

        msg.local_id = local_id.as_str().to_owned();
        msg.send_id = sender.as_str().to_owned();
        msg.server_id = message::server_id(sender, &local_id);
        msg.send_time = send_time;
        msg.conversation = conversation.as_str().to_owned();
        (msg.seq, msg.conv_seq, msg.is_read) = (0, 0, false);
        Ok(Self {
            sender: sender.clone(),
            local_id,
            target,
            conversation,
            send_time,
            expire_at: msg.expire_at,
            hash,
            encoded: msg.encode_to_vec(),
            server_id: msg.server_id,
            origin,
            traceparent: None,
        })
    }

    /// The record of a completed message that comes out of a log. Everything that can be computed is, and checked.
    pub fn from_log(encoded: Vec<u8>, origin: Option<Origin>) -> Result<Self, Malformed> {
        let msg = Msg::decode(&encoded[..])?;
        let target = message::check(&msg).map_err(Malformed::Refused)?;
        let sender = UserId::new(&msg.send_id).map_err(Malformed::Refused)?;
        let local_id = LocalId::new(&msg.local_id).map_err(Malformed::Refused)?;
        let conversation = target.conversation(&sender);
        if msg.send_time < 0 {
            return Err(Malformed::Differs("send_time"));
        }
        if msg.server_id != message::server_id(&sender, &local_id) {
            return Err(Malformed::Differs("server_id"));
        }
        if msg.conversation != conversation.as_str() {
            return Err(Malformed::Differs("conversation"));
        }
        Ok(Self {
            hash: message::body_hash(&msg),
            send_time: msg.send_time,
            expire_at: msg.expire_at,
            server_id: msg.server_id,
            sender,
            local_id,
            target,
            conversation,
            encoded,
            origin,
            traceparent: None,
        })
    }

    /// The users in whose inboxes it gets an entry, each once: the timelines of a message are a set. Empty for a
    /// channel; a group's members are the store's to know.
    pub fn recipients(&self) -> SmallVec<[UserId; 2]> {
        match &self.target {
            Target::User(user) if *user == self.sender => smallvec![self.sender.clone()],
            Target::User(user) => smallvec![self.sender.clone(), user.clone()],
            Target::Group(_) | Target::Channel(_) => SmallVec::new(),
        }
    }

    /// About how much memory and log it takes, in bytes.
    pub fn cost_bytes(&self) -> usize {
        self.encoded.len() + OVERHEAD_BYTES
    }
}

/// Ids, hash and bookkeeping of a record beside its encoded message.
const OVERHEAD_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn new(msg: Msg) -> Result<Record, Refusal> {
        let alice = UserId::new("alice").unwrap();
        Record::new(msg, &alice, 5, || LocalId::new("drawn").unwrap(), None)
    }

    #[test]
    fn what_a_client_may_not_set_is_the_servers() {
        let msg = Msg {
            send_id: "eve".into(),
            receiver_id: "bob".into(),
            server_id: "x".into(),
            conversation: "c:x".into(),
            send_time: 9,
            seq: 9,
            conv_seq: 9,
            is_read: true,
            ..Msg::default()
        };
        let record = new(msg).unwrap();
        let stored = Msg::decode(&record.encoded[..]).unwrap();
        assert_eq!((&*stored.send_id, &*stored.conversation, stored.send_time), ("alice", "d:alice:bob", 5));
        assert_eq!((stored.seq, stored.conv_seq, stored.is_read), (0, 0, false));
        assert_eq!((&*stored.local_id, stored.server_id), ("drawn", record.server_id.clone()));
        assert_eq!(record.recipients().len(), 2);
    }

    #[test]
    fn a_client_has_the_name_of_its_token_only() {
        let alice = UserId::new("alice").unwrap();
        let stored = |origin| {
            let nickname = "n".repeat(if origin { 999 } else { 9 });
            let msg = Msg { receiver_id: "bob".into(), nickname, said_at: "now".into(), ..Msg::default() };
            let origin = origin.then(|| Origin { gateway: "g".into(), incarnation: 1, session: 1 });
            let record = Record::new(msg, &alice, 5, || LocalId::new("drawn").unwrap(), origin).unwrap();
            let Msg { nickname, said_at, .. } = Msg::decode(&record.encoded[..]).unwrap();
            (nickname, said_at)
        };
        assert_eq!(stored(false), ("nnnnnnnnn".to_owned(), "now".to_owned()));
        assert_eq!(stored(true), (String::new(), String::new()));
    }

    #[test]
    fn a_message_to_oneself_has_one_inbox() {
        let record = new(Msg { receiver_id: "alice".into(), ..Msg::default() }).unwrap();
        assert_eq!(record.recipients().as_slice(), [UserId::new("alice").unwrap()]);
    }
}
