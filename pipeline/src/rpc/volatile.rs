//! A message that is stored nowhere: checked and completed like any other, with seq 0. Pure.

use prost::Message as _;
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::message::Target;
use tidegate_proto::v1::{Code, Msg};

use crate::body::Body;
use crate::submit;

/// A message for the moment.
#[derive(Debug, Clone)]
pub struct Volatile {
    /// Whom it is for.
    pub recipient: UserId,
    /// As it is delivered.
    pub body: Body,
}

impl Volatile {
    /// Checks a backend's message and completes it; sent at `send_time`, in ms since 1970.
    pub fn new(msg: Msg, send_time: i64) -> Result<Self, Refusal> {
        let sender = submit::sender(&msg)?;
        let record = submit::record(&sender, msg, send_time)?;
        let Target::User(recipient) = record.target else {
            return Err(Refusal::new(Code::Unimplemented, "volatile messages go to users only"));
        };
        let ids = (record.local_id.as_str(), &*record.server_id);
        let body = Body::new(&record.encoded, record.conversation.as_str(), ids, send_time, 0);
        Ok(Self { recipient, body })
    }

    /// Of another process's, which has set its send_time.
    pub fn forwarded(msg: Msg, now_ms: i64) -> Result<Self, Refusal> {
        let send_time = if msg.send_time > 0 { msg.send_time } else { now_ms };
        Self::new(msg, send_time)
    }

    /// As another process takes it.
    pub fn msg(&self) -> Msg {
        Msg::decode(self.body.bytes().clone()).expect("a body is made from an encoded Msg")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_wherever_it_is_delivered() {
        let msg =
            Msg { receiver_id: "bob".into(), content: "now".into(), seq: 9, conv_seq: 9, ..Msg::default() };
        let first = Volatile::new(msg, 5).unwrap();
        let second = Volatile::forwarded(first.msg(), 7).unwrap();
        assert_eq!((first.msg(), first.recipient.as_str()), (second.msg(), "bob"));
        let Msg { send_id, seq, conv_seq, send_time, local_id, .. } = second.msg();
        assert_eq!((&*send_id, seq, conv_seq, send_time), ("@system", 0, 0, 5));
        assert!(!local_id.is_empty());
    }

    #[test]
    fn it_is_checked_like_any_other() {
        for wrong in [
            Msg::default(),
            Msg { receiver_id: "a b".into(), ..Msg::default() },
            Msg { send_id: "a b".into(), receiver_id: "bob".into(), ..Msg::default() },
            Msg { group_id: "g".into(), ..Msg::default() },
        ] {
            assert!(Volatile::new(wrong, 5).is_err());
        }
    }
}
