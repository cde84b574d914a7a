//! A subscriber of `bench fanout`: a bare session that reads no more of a message than its stamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use prost::Message as _;
use tidegate_client::Raw;
use tidegate_client::v1::{ClientFrame, ServerFrame, Subscribe, client_frame, server_frame};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::checker::Checker;
use super::flow::Tally;
use super::payload::Stamp;

/// A session that subscribes to the channel.
#[derive(Debug)]
pub(super) struct Subscriber {
    session: Raw,
    pub(super) checker: Checker,
    /// The seq of the last message.
    last_seq: i64,
    /// Messages whose seq was not the last one's plus one.
    pub(super) misplaced: u64,
}

/// Where each message is on its way to all, so that the publisher can keep as many under way as it is told.
#[derive(Debug)]
pub(super) struct Everywhere {
    subscribers: u32,
    /// To how many subscribers a message has come, by its number.
    came: Box<[AtomicU32]>,
    pub(super) room: Arc<Semaphore>,
}

impl Subscriber {
    /// Subscribes to a channel from its head on.
    pub(super) async fn begin(mut session: Raw, channel: &str) -> anyhow::Result<Self> {
        let subscribe = Subscribe { channel: channel.to_owned(), after: None };
        let kind = Some(client_frame::Kind::Subscribe(subscribe));
        let answer = timeout(SUBSCRIBE_LIMIT, async {
            session.send(&ClientFrame { id: 1, kind }).await?;
            anyhow::Ok(ServerFrame::decode(session.recv().await?)?)
        });
        match answer.await.context("no answer to Subscribe")??.kind {
            Some(server_frame::Kind::Subscribed(subscribed)) => {
                Ok(Self { session, checker: Checker::default(), last_seq: subscribed.head, misplaced: 0 })
            }
            other => bail!("the answer to Subscribe is {other:?}"),
        }
    }

    /// Takes in what comes, until the session breaks. Cancel safe: what has come stays.
    pub(super) async fn receive(&mut self, tally: &Tally, everywhere: &Everywhere) -> anyhow::Result<()> {
        loop {
            let frame = self.session.recv().await.context("a subscriber's session broke")?;
            let Some(deliver) = Glimpse::decode(frame)?.deliver else { continue };
            let Some(stamp) = deliver.msg.and_then(|msg| Stamp::read(&msg.content)) else { continue };
            self.misplaced += u64::from(deliver.seq != self.last_seq + 1);
            self.last_seq = deliver.seq;
            if !self.checker.note(stamp.number) {
                continue;
            }
            tally.received.fetch_add(1, Ordering::Relaxed);
            tally.record(&tally.delivered, tally.begin + stamp.due);
            if tally.measured.contains(&Instant::now()) {
                tally.received_in_time.fetch_add(1, Ordering::Relaxed);
            }
            everywhere.came(stamp.number);
        }
    }

    /// How many WebSocket messages or STREAM frames have come.
    pub(super) fn pieces(&self) -> u64 {
        self.session.pieces()
    }
}

impl Everywhere {
    /// With room for `most` messages under way.
    pub(super) fn new(subscribers: u32, most: usize) -> Self {
        let came = (0..UNDER_WAY).map(|_| AtomicU32::new(0)).collect();
        Self { subscribers, came, room: Arc::new(Semaphore::new(most)) }
    }

    fn came(&self, number: u64) {
        let came = &self.came[number as usize % UNDER_WAY];
        if came.fetch_add(1, Ordering::Relaxed) + 1 == self.subscribers {
            came.store(0, Ordering::Relaxed);
            self.room.add_permits(1);
        }
    }
}

/// Of a ServerFrame what is looked at: the rest is skipped, which costs a tenth of decoding it.
#[derive(Clone, PartialEq, prost::Message)]
struct Glimpse {
    #[prost(message, optional, tag = "4")]
    deliver: Option<GlimpseOfDeliver>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GlimpseOfDeliver {
    #[prost(int64, tag = "2")]
    seq: i64,
    #[prost(message, optional, tag = "3")]
    msg: Option<GlimpseOfMsg>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GlimpseOfMsg {
    #[prost(bytes = "bytes", tag = "10")]
    content: Bytes,
}

/// More than are ever under way in the closed loop.
const UNDER_WAY: usize = 1_024;
/// Thousands subscribe at the same time.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_client::v1::{Deliver, Msg, deliver};

    #[test]
    fn a_glimpse_has_the_seq_and_the_content() {
        let msg = Msg { send_id: "alice".into(), content: "goal".into(), ..Msg::default() };
        let entry = Some(deliver::Entry::Msg(msg));
        let kind = server_frame::Kind::Deliver(Deliver { timeline: "c:news".into(), seq: 7, entry });
        let frame = ServerFrame { id: 0, kind: Some(kind) }.encode_to_vec();
        let deliver = Glimpse::decode(&*frame).unwrap().deliver.unwrap();
        assert_eq!((deliver.seq, &*deliver.msg.unwrap().content), (7, &b"goal"[..]));
    }

    #[test]
    fn there_is_room_again_when_the_last_subscriber_has_it() {
        let everywhere = Everywhere::new(2, 0);
        everywhere.came(0);
        everywhere.came(1);
        assert_eq!(everywhere.room.available_permits(), 0);
        everywhere.came(0);
        assert_eq!(everywhere.room.available_permits(), 1);
        everywhere.came(0);
        assert_eq!(everywhere.room.available_permits(), 1, "of the next one in its place");
    }
}
