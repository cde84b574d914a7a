//! A client against a scripted server: what goes over the wire, and when. Time is paused, so it passes when nobody has
//! anything to do.

mod asking;
mod connecting;
mod ending;
mod peer;
mod receiving;
mod sending;

use std::time::Duration;

use tidegate_proto::v1::{Start as WireStart, start};
use tokio::time::timeout;

use crate::{Disconnect, Event, Events};

/// Ends a hang: with the time paused, ten hours pass at once.
async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(36_000), work).await.expect("no hang")
}

/// The seqs of the next messages.
async fn seqs(events: &mut Events, count: usize) -> Vec<i64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match within(events.recv()).await.expect("the client lives") {
            Event::Message(message) => seqs.push(message.seq),
            Event::Closed(reason) => panic!("closed: {reason:?}"),
            _ => {}
        }
    }
    seqs
}

/// The reason of the next end of a session.
async fn disconnect(events: &mut Events) -> Disconnect {
    loop {
        match within(events.recv()).await.expect("the client lives") {
            Event::Disconnected(reason) | Event::Closed(reason) => return reason,
            _ => {}
        }
    }
}

fn position(cursor: i64) -> Option<WireStart> {
    let position = tidegate_proto::v1::Position { epoch: "e1".into(), cursor };
    Some(WireStart { from: Some(start::From::Position(position)) })
}
