//! The binary mode: a binary message holds one or more frames, each preceded by its length. Pure.

use bytes::BytesMut;
use tidegate_proto::framing::split_frame;

use super::assemble::Incoming;
use super::mode::fatal;
use super::output::Output;
use crate::transport::queue::{gone_frame, stored_frame};
use crate::transport::stream::{bad_framing, decode};
use crate::transport::{Event, Outgoing};

/// What is not read yet of the current message.
#[derive(Debug)]
pub(super) struct Binary {
    rest: BytesMut,
    max_frame_bytes: usize,
}

impl Binary {
    pub(super) fn new(max_frame_bytes: usize) -> Self {
        Self { rest: BytesMut::new(), max_frame_bytes }
    }

    pub(super) fn set_max_frame_bytes(&mut self, max_frame_bytes: usize) {
        self.max_frame_bytes = max_frame_bytes;
    }

    /// The next frame of the message that came last.
    pub(super) fn next(&mut self) -> Option<Event> {
        if self.rest.is_empty() {
            return None;
        }
        match split_frame(&mut self.rest, self.max_frame_bytes) {
            Ok(Some(frame)) => Some(decode(&frame)),
            Ok(None) => Some(fatal("a binary message that ends inside a frame")),
            Err(error) => Some(Event::Bad(bad_framing(error))),
        }
    }

    pub(super) fn message(&mut self, message: Incoming) -> Option<Event> {
        match message {
            Incoming::Binary(bytes) if bytes.is_empty() => Some(fatal("a binary message without a frame")),
            Incoming::Binary(bytes) => {
                self.rest = bytes;
                self.next()
            }
            Incoming::Text(_) => Some(fatal("a text message, where the subprotocol is binary")),
            Incoming::Ping(_) | Incoming::Pong(_) | Incoming::Close(_) => None,
        }
    }
}

/// Queues a frame.
pub(super) fn put(output: &mut Output, out: Outgoing) {
    match out {
        Outgoing::Frame(frame) | Outgoing::OfChannel { frame, .. } | Outgoing::Signal(frame) => {
            output.live.put(&frame)
        }
        Outgoing::Page(frame) => output.pages.put(&frame),
        Outgoing::Deliver { timeline, seq, body: Some(body) } => {
            output.live.put_deliver(&timeline, seq, &body)
        }
        Outgoing::Burst(burst) => output.live.put_shared(burst.frames()),
        Outgoing::Deliver { timeline, seq, body: None } => output.live.put(&gone_frame(&timeline, seq)),
        Outgoing::Stored { seq, body } => output.live.put(&stored_frame(seq, &body)),
    }
}
