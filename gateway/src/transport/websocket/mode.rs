//! What the messages of a WebSocket mean: one of three modes, chosen at the upgrade. Pure.

use std::fmt::Display;

use tidegate_proto::limits::MAX_HELLO_BYTES;
use tidegate_proto::v1::{CloseCode, Code};

use super::assemble::Incoming;
use super::output::{Framing, Output};
use super::{binary, json, plain};
use crate::transport::{Bad, Event, Kind, Outgoing};

/// The mode of a connection with its state.
#[derive(Debug)]
pub(super) enum Mode {
    Binary(binary::Binary),
    Json,
    Plain(Box<plain::Plain>),
}

impl Mode {
    /// For metrics and logs.
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Binary(_) => Kind::WebSocket,
            Self::Json => Kind::WebSocketJson,
            Self::Plain(_) => Kind::WebSocketPlain,
        }
    }

    pub(super) fn output(&self) -> Output {
        Output::new(if matches!(self, Self::Binary(_)) { Framing::Gathered } else { Framing::PerMessage })
    }

    pub(super) fn binary() -> Self {
        Self::Binary(binary::Binary::new(MAX_HELLO_BYTES))
    }

    pub(super) fn set_max_frame_bytes(&mut self, max_frame_bytes: usize) {
        if let Self::Binary(binary) = self {
            binary.set_max_frame_bytes(max_frame_bytes);
        }
    }

    /// An event that needs no further message.
    pub(super) fn next(&mut self) -> Option<Event> {
        match self {
            Self::Binary(binary) => binary.next(),
            Self::Json => None,
            Self::Plain(plain) => plain.hello(),
        }
    }

    /// What a message or a pong is to the session, if anything.
    pub(super) fn message(&mut self, message: Incoming, output: &Output) -> Option<Event> {
        match self {
            Self::Binary(binary) => binary.message(message),
            Self::Json => json::message(&message),
            Self::Plain(plain) => plain.message(&message, output.launched_seq()),
        }
    }

    /// Queues what the session sends.
    pub(super) fn put(&mut self, output: &mut Output, out: Outgoing) {
        match self {
            Self::Binary(_) => binary::put(output, out),
            Self::Json => json::put(output, out),
            Self::Plain(plain) => plain.put(output, out),
        }
    }
}

/// A message that ends the session.
pub(super) fn fatal(message: &str) -> Event {
    Event::Bad(Bad {
        close: Some(CloseCode::ProtocolError),
        code: Code::ProtocolError,
        message: message.to_owned(),
    })
}

/// A message that is answered and forgotten. The error may quote what the client sent, so it is cut.
pub(super) fn forgiven(what: &str, error: &dyn Display) -> Event {
    let mut message = format!("{what}: {error}");
    message.truncate(message.floor_char_boundary(MAX_QUOTED_BYTES));
    Event::Bad(Bad { close: None, code: Code::InvalidArgument, message })
}

/// The longest text that may hold a client's own words (docs/OPERATIONS.md "Log").
const MAX_QUOTED_BYTES: usize = 256;
