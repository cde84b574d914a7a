//! The plain `Msg` mode: bare messages to the client, frames to the session, which knows nothing of it
//! (docs/PROTOCOL.md "Plain `Msg` mode"). Pure.

use bytes::Bytes;
use prost::Message as _;
use tidegate_proto::id::DeviceId;
use tidegate_proto::v1::{
    Ack, ClientFrame, ContentType, Hello, Msg, MsgType, Receipt, ReceiptStatus, Send, ServerFrame,
    client_frame, server_frame,
};

use super::assemble::Incoming;
use super::frame::Opcode;
use super::mode::forgiven;
use super::output::{Output, put_message};
use crate::transport::{Event, Outgoing};

/// The state of a plain connection.
#[derive(Debug)]
pub(super) struct Plain {
    hello: Option<Hello>,
    /// The kind the client last used.
    kind: Opcode,
    acked: u64,
}

impl Plain {
    /// A connection of `device`; its Hello is the first event. `now_ms` since 1970.
    pub(super) fn new(device: &DeviceId, now_ms: i64) -> Self {
        let hello = Hello {
            device_id: device.as_str().to_owned(),
            attempt: now_ms,
            platform: "plain".to_owned(),
            ..Hello::default()
        };
        Self { hello: Some(hello), kind: Opcode::Text, acked: 0 }
    }

    /// The Hello that such a client does not send, once.
    pub(super) fn hello(&mut self) -> Option<Event> {
        self.hello.take().map(|hello| frame(client_frame::Kind::Hello(hello)))
    }

    /// What a message is, or a pong: the echo of the last seq written, at most `launched_seq`, acknowledges it.
    pub(super) fn message(&mut self, message: &Incoming, launched_seq: u64) -> Option<Event> {
        match message {
            Incoming::Text(text) => {
                self.kind = Opcode::Text;
                let msg = serde_json::from_slice(text);
                Some(msg.map_or_else(|error| forgiven("the text is no Msg in JSON", &error), send))
            }
            Incoming::Binary(bytes) => {
                self.kind = Opcode::Binary;
                let msg = Msg::decode(&bytes[..]);
                Some(msg.map_or_else(|error| forgiven("the message is no Msg in protobuf", &error), send))
            }
            Incoming::Pong(echo) => {
                let seq: u64 = std::str::from_utf8(echo).ok()?.parse().ok()?;
                if seq <= self.acked || seq > launched_seq {
                    return None;
                }
                self.acked = seq;
                Some(frame(client_frame::Kind::Ack(Ack { cursor: seq.cast_signed() })))
            }
            Incoming::Ping(_) | Incoming::Close(_) => None,
        }
    }

    /// Queues what such a client understands of what the session sends.
    pub(super) fn put(&mut self, output: &mut Output, out: Outgoing) {
        let msg = match out {
            Outgoing::Frame(frame) => answer(frame),
            Outgoing::Deliver { timeline, seq, body } => {
                let of_inbox = timeline.is_empty();
                if of_inbox {
                    output.reaches(seq);
                }
                body.map(|body| body.msg(if of_inbox { seq } else { 0 }))
            }
            Outgoing::Stored { seq, .. } => {
                output.reaches(seq);
                None
            }
            // Nobody here subscribes to a channel.
            Outgoing::OfChannel { .. } | Outgoing::Burst(_) | Outgoing::Page(_) | Outgoing::Signal(_) => None,
        };
        let Some(msg) = msg else { return };
        if self.kind == Opcode::Text {
            let text = serde_json::to_vec(&msg).expect("a Msg has only keys that are strings");
            put_message(&mut output.live, Opcode::Text, &text);
        } else {
            put_message(&mut output.live, Opcode::Binary, &msg.encode_to_vec());
        }
    }
}

fn send(msg: Msg) -> Event {
    frame(client_frame::Kind::Send(Send { msg: Some(msg) }))
}

/// The `Msg` that says what a frame says, if there is one.
fn answer(frame: ServerFrame) -> Option<Msg> {
    match frame.kind? {
        server_frame::Kind::Receipt(receipt) => answer_send(receipt),
        server_frame::Kind::Error(error) => {
            Some(refusal(MsgType::Receipt, (String::new(), String::new()), error.message))
        }
        server_frame::Kind::GoAway(go_away) => {
            let reason = if go_away.message.is_empty() {
                go_away.reason().as_str_name().to_owned()
            } else {
                go_away.message
            };
            Some(refusal(MsgType::Notification, (String::new(), String::new()), reason))
        }
        _ => None,
    }
}

/// The session answers each send with ACCEPTED or REJECTED, once; a refusal may still follow an acceptance. STORED is
/// no answer to a send: its local_id does not tell it from another message under the same one, which is refused.
fn answer_send(said: Receipt) -> Option<Msg> {
    let status = said.status();
    let ids = (said.local_id, said.server_id);
    match status {
        ReceiptStatus::Accepted => Some(receipt(ids, said.send_time)),
        ReceiptStatus::Rejected => Some(refusal(MsgType::Receipt, ids, said.message)),
        // Of a volatile channel: it has no place, and this is the one answer.
        ReceiptStatus::Stored if said.conv_seq == 0 => Some(receipt(ids, said.send_time)),
        ReceiptStatus::Stored | ReceiptStatus::Unspecified => None,
    }
}

fn frame(kind: client_frame::Kind) -> Event {
    Event::Frame(ClientFrame { id: 0, kind: Some(kind) })
}

fn receipt((local_id, server_id): (String, String), send_time: i64) -> Msg {
    Msg { local_id, server_id, send_time, msg_type: MsgType::Receipt as i32, ..Msg::default() }
}

fn refusal(msg_type: MsgType, (local_id, server_id): (String, String), reason: String) -> Msg {
    Msg {
        local_id,
        server_id,
        msg_type: msg_type as i32,
        content_type: ContentType::Error as i32,
        content: Bytes::from(reason),
        ..Msg::default()
    }
}

#[cfg(test)]
mod tests;
