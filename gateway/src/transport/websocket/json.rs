//! The JSON mode: one frame as a JSON object in each text message (WIRE, "Transports"). Pure.

use tidegate_proto::v1::{ClientFrame, Deliver, ServerFrame, deliver, server_frame};

use super::assemble::Incoming;
use super::frame::Opcode;
use super::mode::{fatal, forgiven};
use super::output::{Output, put_message};
use crate::transport::queue::{gone_frame, stored_frame};
use crate::transport::{Event, Outgoing};

/// What a message of a client is. A text that is no frame is forgiven.
pub(super) fn message(message: &Incoming) -> Option<Event> {
    match message {
        Incoming::Text(text) => Some(match serde_json::from_slice::<ClientFrame>(text) {
            Ok(frame) => Event::Frame(frame),
            Err(error) => forgiven("the text is no ClientFrame in JSON", &error),
        }),
        Incoming::Binary(_) => Some(fatal("a binary message, where the subprotocol is JSON")),
        Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(_) => None,
    }
}

/// Queues a frame.
pub(super) fn put(output: &mut Output, out: Outgoing) {
    let (frame, page) = match out {
        Outgoing::Frame(frame) | Outgoing::Signal(frame) => (frame, false),
        Outgoing::Page(frame) => (frame, true),
        Outgoing::Deliver { timeline, seq, body: Some(body) } => {
            // As in the binary form, the seq stands beside the message.
            let entry = Some(deliver::Entry::Msg(body.msg(0)));
            let deliver = Deliver { timeline: timeline.as_ref().to_owned(), seq: seq.cast_signed(), entry };
            (ServerFrame { id: 0, kind: Some(server_frame::Kind::Deliver(deliver)) }, false)
        }
        Outgoing::Deliver { timeline, seq, body: None } => (gone_frame(&timeline, seq), false),
        Outgoing::Stored { seq, body } => (stored_frame(seq, &body), false),
    };
    let text = serde_json::to_vec(&frame).expect("a frame has only keys that are strings");
    let queue = if page { &mut output.pages } else { &mut output.live };
    put_message(queue, Opcode::Text, &text);
}
