//! The JSON mode: one frame as a JSON object in each text message (docs/PROTOCOL.md "WebSocket, JSON"). Pure.

use bytes::{Buf as _, Bytes};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use tidegate_pipeline::body::Body;
use tidegate_proto::v1::{ClientFrame, Deliver, ServerFrame, client_frame, deliver, server_frame};

use super::assemble::Incoming;
use super::frame::Opcode;
use super::mode::{fatal, forgiven};
use super::output::{Output, put_message};
use crate::burst::Burst;
use crate::transport::queue::{WriteQueue, gone_frame, stored_frame};
use crate::transport::{Event, Outgoing};

/// What a message of a client is. A text that is no frame is forgiven.
pub(super) fn message(message: &Incoming) -> Option<Event> {
    match message {
        Incoming::Text(text) => Some(match serde_json::from_slice::<ClientFrame>(text) {
            Ok(ClientFrame { kind: None, .. }) if let Some(error) = misfit(text) => {
                forgiven(NO_FRAME, &error)
            }
            Ok(frame) => Event::Frame(frame),
            Err(error) => forgiven(NO_FRAME, &error),
        }),
        Incoming::Binary(_) => Some(fatal("a binary message, where the subprotocol is JSON")),
        Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(_) => None,
    }
}

/// What is wrong with the one member of a frame that is of a known kind: as a flattened one, serde takes a kind whose
/// members do not fit for none. A kind that nobody knows is no misfit.
fn misfit(text: &[u8]) -> Option<serde_json::Error> {
    let mut members = serde_json::from_slice::<Map<String, Value>>(text).ok()?;
    members.remove("id");
    let kind = |members| client_frame::Kind::deserialize(Value::Object(members));
    members.into_iter().find_map(|(name, value)| {
        let known = kind(Map::from_iter([(name.clone(), Value::Object(Map::new()))])).is_ok();
        known.then(|| kind(Map::from_iter([(name, value)])).err()).flatten()
    })
}

/// Queues a frame.
pub(super) fn put(output: &mut Output, out: Outgoing) {
    let (frame, page) = match out {
        Outgoing::Frame(frame) | Outgoing::OfChannel { frame, .. } | Outgoing::Signal(frame) => {
            (frame, false)
        }
        Outgoing::Page(frame) => (frame, true),
        Outgoing::Deliver { timeline, seq, body: Some(body) } => (deliver(&timeline, seq, &body), false),
        Outgoing::Deliver { timeline, seq, body: None } => (gone_frame(&timeline, seq), false),
        Outgoing::Burst(burst) => return output.live.put_shared(burst.texts(|| texts(&burst))),
        Outgoing::Stored { seq, body } => (stored_frame(seq, &body), false),
    };
    let queue = if page { &mut output.pages } else { &mut output.live };
    put_message(queue, Opcode::Text, &text(&frame));
}

/// A burst as WebSocket messages.
fn texts(burst: &Burst) -> Bytes {
    let mut queue = WriteQueue::default();
    for (seq, body) in burst.messages() {
        put_message(&mut queue, Opcode::Text, &text(&deliver(burst.timeline(), seq, body)));
    }
    queue.copy_to_bytes(queue.len())
}

/// As in the binary form, the seq stands beside the message.
fn deliver(timeline: &str, seq: u64, body: &Body) -> ServerFrame {
    let entry = Some(deliver::Entry::Msg(body.msg(0)));
    let deliver = Deliver { timeline: timeline.to_owned(), seq: seq.cast_signed(), entry };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Deliver(deliver)) }
}

fn text(frame: &ServerFrame) -> Vec<u8> {
    serde_json::to_vec(frame).expect("a frame has only keys that are strings")
}

const NO_FRAME: &str = "the text is no ClientFrame in JSON";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message as _;
    use tidegate_proto::v1::Msg;

    use super::*;
    use crate::transport::websocket::output::Framing;

    fn event(text: &'static str) -> Event {
        message(&Incoming::Text(text.into())).unwrap()
    }

    #[test]
    fn a_burst_is_its_messages_one_by_one() {
        let msg = |seq: u64| Msg { content: format!("goal {seq}").into(), ..Msg::default() };
        let message = |seq| (seq, Body::from_stored(&msg(seq).encode_to_vec(), seq).unwrap());
        let timeline = "c:news".into();
        let written = |outs: Vec<Outgoing>| {
            let mut output = Output::new(Framing::PerMessage);
            outs.into_iter().for_each(|out| put(&mut output, out));
            output.live.copy_to_bytes(output.live.remaining())
        };
        let alone = |(seq, body)| {
            let timeline = Arc::clone(&timeline);
            Outgoing::Deliver { timeline, seq, body: Some(body) }
        };
        let apart = written((7..=9).map(message).map(alone).collect());
        let bursts = Burst::cut(&timeline, (7..=9).map(message).collect());
        assert_eq!(written(bursts.into_iter().map(Outgoing::Burst).collect()), apart);
        assert_eq!(apart.windows(5).filter(|text| text == b"goal ").count(), 3);
    }

    #[test]
    fn a_kind_whose_members_do_not_fit_is_refused_with_the_reason() {
        for text in [r#"{"ack":{"cursor":1.5}}"#, r#"{"id":1,"send":{"msg":{"content":1}}}"#, r#"{"ping":7}"#]
        {
            let Event::Bad(bad) = event(text) else { panic!("{text} passed") };
            assert_eq!(bad.close, None);
            assert!(bad.message.contains("expected"), "{}", bad.message);
        }
        for text in [r#"{"id":1,"news":{"a":1.5}}"#, r#"{"id":1}"#] {
            assert!(matches!(event(text), Event::Frame(ClientFrame { id: 1, kind: None })), "{text}");
        }
    }
}
