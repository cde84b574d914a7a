//! Senders at a constant rate over however many lives of the server, recipients, and what the load really was.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidegate_client::v1::Msg;
use tidegate_client::{Client, Event, Events, Message, SendHandle, Stored};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::peer::{Peer, spawn, within};

/// How far all senders are together.
#[derive(Default)]
pub(super) struct Progress {
    offered: AtomicU64,
    accepted: AtomicU64,
    changed: Notify,
    stop: AtomicBool,
}

impl Progress {
    pub(super) fn start() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The one waiter there is waits here.
    pub(super) async fn reaches(&self, count: u64) {
        while self.accepted() < count {
            self.changed.notified().await;
        }
    }
}

/// The load as it was.
pub(super) struct Measured {
    begin: Instant,
    seconds: f64,
    seconds_down: f64,
    offered: u64,
    accepted: u64,
}

impl Measured {
    pub(super) fn begin() -> Self {
        Self { begin: Instant::now(), seconds: 0.0, seconds_down: 0.0, offered: 0, accepted: 0 }
    }

    /// From the kill to the last listener.
    pub(super) fn was_down(&mut self, time: Duration) {
        self.seconds_down += time.as_secs_f64();
    }

    /// Senders stop.
    pub(super) fn end(&mut self, progress: &Progress) {
        self.seconds = self.begin.elapsed().as_secs_f64();
        self.offered = progress.offered.load(Ordering::Relaxed);
        self.accepted = progress.accepted();
        progress.stop.store(true, Ordering::Relaxed);
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seconds, seconds_down, offered, accepted, .. } = self;
        let rate = |count: u64, seconds: f64| count as f64 / seconds;
        write!(
            f,
            "{seconds:.1} s, {seconds_down:.1} s of them down: offered {:.0} messages/s, accepted {:.0}/s, \
             {:.0}/s of the time it was up;",
            rate(*offered, *seconds),
            rate(*accepted, *seconds),
            rate(*accepted, seconds - seconds_down),
        )
    }
}

/// What a sender knows of a message: its number is its place in the list.
pub(super) struct Sent {
    pub(super) local_id: String,
    pub(super) stored: Stored,
}

/// Sends numbers at `rate` a second, to whom `to` says, until told to stop, then waits until all are stored. What is due while the server
/// is down or slow is sent as soon as the client takes it.
pub(super) fn start_sender(peer: Peer, to: Msg, rate: u32, progress: Arc<Progress>) -> JoinHandle<Vec<Sent>> {
    let Peer { client, events, .. } = peer;
    // It wants no messages.
    drop(events);
    spawn(async move {
        let mut every = interval(Duration::from_secs(1) / rate);
        every.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut followed = Vec::new();
        while !progress.stop.load(Ordering::Relaxed) {
            every.tick().await;
            let msg = Msg { content: followed.len().to_string().into(), ..to.clone() };
            let handle = within(client.send(msg)).await.unwrap();
            progress.offered.fetch_add(1, Ordering::Relaxed);
            followed.push(spawn(follow(handle, progress.clone())));
        }
        let mut sent = Vec::new();
        for one in followed {
            sent.push(one.await.unwrap());
        }
        sent
    })
}

/// Both receipts, which must agree.
async fn follow(mut handle: SendHandle, progress: Arc<Progress>) -> Sent {
    let accepted = within(handle.accepted()).await.unwrap();
    progress.accepted.fetch_add(1, Ordering::Relaxed);
    progress.changed.notify_one();
    let stored = within(handle.stored()).await.unwrap();
    assert_eq!(accepted.server_id, stored.server_id);
    Sent { local_id: handle.local_id().to_owned(), stored }
}

/// Who receives.
pub(super) struct Received {
    expected: watch::Sender<usize>,
    task: JoinHandle<Vec<Message>>,
}

impl Received {
    /// What has come, once `count` messages have.
    pub(super) async fn all(self, count: usize) -> Vec<Message> {
        self.expected.send_replace(count);
        self.task.await.unwrap()
    }
}

/// Takes messages until as many are there as are expected.
pub(super) fn start_recipient(peer: Peer) -> Received {
    let Peer { client, mut events, .. } = peer;
    let (expected, mut target) = watch::channel(usize::MAX);
    let task = spawn(async move {
        let mut messages = Vec::new();
        while messages.len() < *target.borrow_and_update() {
            tokio::select! {
                event = events.recv() => match event.expect("the client lives") {
                    Event::Message(message) => messages.push(message),
                    Event::Connected(connected) => assert!(!connected.reset, "the data live on"),
                    Event::Disconnected(_) | Event::GoAway { .. } => {}
                    other => panic!("{other:?}"),
                },
                Ok(()) = target.changed() => {}
            }
        }
        no_more(&client, &mut events).await;
        messages
    });
    Received { expected, task }
}

/// After the answer to a Ping, which comes after what was delivered before, nothing is there.
async fn no_more(client: &Client, events: &mut Events) {
    within(client.ping()).await.unwrap();
    while let Ok(Some(event)) = timeout(Duration::ZERO, events.recv()).await {
        if let Event::Message(message) = event {
            panic!("one too many: {message:?}");
        }
    }
}
