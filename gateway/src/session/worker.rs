//! The loop of a session: what came from the client, from the gateway's side, from the store, and the time.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use tidegate_pipeline::log::Closed;
use tidegate_pipeline::store::{Page, StoreError};
use tidegate_proto::Refusal;
use tidegate_proto::id::DeviceId;
use tidegate_proto::limits::MAX_IN_FLIGHT;
use tidegate_proto::v1::{CloseCode, Code, Receipt, ReceiptStatus, ServerFrame, server_frame};
use tokio::time::{Sleep, sleep_until};

use super::Clock;
use super::delivery::Entry;
use super::end::{End, error_frame, frame};
use super::in_flight::InFlight;
use super::rate::Rate;
use super::request::PullRequest;
use super::subscriptions::Subscriptions;
use super::taking::Taking;
use super::tally::{FeedTally, Tally};
use crate::auth::Identity;
use crate::feed::Feed;
use crate::gateway::registrations::{Round, Row};
use crate::gateway::{Shared, now_ms};
use crate::hub::Place;
use crate::hub::mailbox::{Mail, Mailbox, Notice};
use crate::transport::{Event, Outgoing, Transport};

/// A live session.
#[derive(Debug)]
pub(super) struct Session<T> {
    pub(super) gateway: Arc<Shared>,
    pub(super) transport: T,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) identity: Identity,
    pub(super) device: DeviceId,
    pub(super) guards: Guards,
    pub(super) clock: Clock,
    /// When the token does, on the session's clock.
    pub(super) expires: u64,
    pub(super) feed: Feed<Entry>,
    pub(super) sends: InFlight,
    pub(super) messages: Rate,
    pub(super) signals: Rate,
    pub(super) refreshes: Rate,
    pub(super) subscribes: Rate,
    pub(super) subscriptions: Subscriptions,
    /// Of the rules that have one, by their places.
    pub(super) publishes: BTreeMap<usize, Rate>,
    /// The last cursor the client acknowledged.
    pub(super) acked: u64,
    /// The page of the inbox being read.
    pub(super) page: Option<Work<Result<Page, StoreError>>>,
    /// The page of a Pull being read; one at a time.
    pub(super) pull: Option<(PullRequest, Work<Result<Page, StoreError>>)>,
    /// A send that waits for room in the log; the client is not read meanwhile.
    pub(super) append: Option<Work<Result<(), Closed>>>,
    /// Whether the client takes what is queued.
    pub(super) taking: Taking,
    /// Told to end; sends in flight are still answered.
    pub(super) leaving: Option<(Notice, u64)>,
    /// Its part in the metrics.
    pub(super) tally: Tally,
    pub(super) feed_tally: FeedTally,
}

/// Something that is being done for the session and outlives a turn of its loop.
pub(super) struct Work<R>(Pin<Box<dyn Future<Output = R> + Send>>);

impl<R> Work<R> {
    pub(super) fn new(work: impl Future<Output = R> + Send + 'static) -> Self {
        Self(Box::pin(work))
    }

    /// Waits for it. Cancel safe; not to be called again after its end.
    pub(super) async fn done(&mut self) -> R {
        self.0.as_mut().await
    }
}

impl<R> std::fmt::Debug for Work<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

/// What must be undone when a session ends, however it ends.
#[derive(Debug)]
pub(super) struct Guards {
    gateway: Arc<Shared>,
    session: u64,
    _place: Place,
}

impl Guards {
    /// The session listens from here on, registered under `row` or, if that is not confirmed, later.
    pub(super) fn new(
        gateway: &Arc<Shared>,
        row: Row,
        confirmed: Option<Round>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        let session = mailbox.session();
        let _place = gateway.hub.join(row.0.clone(), mailbox);
        gateway.registrations.begin(row, confirmed);
        Self { gateway: gateway.clone(), session, _place }
    }
}

impl Drop for Guards {
    fn drop(&mut self) {
        self.gateway.registrations.end(self.session);
    }
}

/// Runs the session to its end; gives the connection back for its close.
pub(super) async fn run<T: Transport>(mut session: Box<Session<T>>) -> Box<(T, End)> {
    let mut timer = Box::pin(sleep_until(session.clock.at(session.deadline(session.clock.now()))));
    let end = loop {
        if let Err(end) = session.turn(&mut timer).await {
            break end;
        }
    };
    session.tally.path(session.transport.path(), session.clock.now());
    let Session { transport, guards, .. } = *session;
    // The place in hub and presence is free before the close, which may take 2 s.
    drop(guards);
    Box::new((transport, end))
}

/// When a token expires, on the clock of a session on which it is `now`.
pub(super) fn expires(identity: &Identity, now: u64) -> u64 {
    now + u64::try_from(identity.expires_at - now_ms()).unwrap_or(0)
}

/// Waits for work if there is some.
async fn done<R>(work: Option<&mut Work<R>>) -> R {
    match work {
        Some(work) => work.done().await,
        None => std::future::pending().await,
    }
}

/// The transport's next event; that something was written only if `written` is waited for. Cancel safe.
async fn next<T: Transport>(transport: &mut T, read: bool, written: bool) -> Event {
    loop {
        match transport.next(read).await {
            Event::Written if !written => {}
            event => return event,
        }
    }
}

impl<T: Transport> Session<T> {
    /// One thing that happens, and what follows from it.
    async fn turn(&mut self, timer: &mut Pin<Box<Sleep>>) -> Result<(), End> {
        let now = self.clock.now();
        self.pump(now);
        self.pump_subscriptions(now);
        self.feed_tally.note(self.feed.is_live());
        self.look_at_taking(now);
        self.arm(timer, now);
        let (read, written) = (self.may_read(), self.waits_for_written());
        tokio::select! {
            event = next(&mut self.transport, read, written) => self.on_event(event),
            () = self.mailbox.filled() => self.on_mail(self.mailbox.take()),
            page = done(self.page.as_mut()) => {
                self.page = None;
                self.on_page(page);
                Ok(())
            }
            page = done(self.pull.as_mut().map(|(_, work)| work)) => {
                if let Some((request, _)) = self.pull.take() {
                    self.answer_pull(&request, page);
                }
                Ok(())
            }
            _ = done(self.append.as_mut()) => {
                // A closed log has told the waiter.
                self.append = None;
                Ok(())
            }
            done = self.subscriptions.next(), if self.subscriptions.is_working() => {
                self.on_subscriptions(done);
                Ok(())
            }
            () = timer.as_mut() => self.on_time(),
        }
    }

    fn on_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Frame(frame) => {
                self.look_at_path();
                self.on_frame(frame)?;
            }
            Event::Datagram(frame) => self.on_datagram(frame),
            Event::Bad(bad) => match bad.close {
                Some(close) => return Err(End::bad(&bad, close)),
                None => self.answer(error_frame(0, Refusal::new(bad.code, bad.message))),
            },
            Event::Written => {}
            Event::Gone(_) => return Err(End::Gone),
        }
        if self.transport.queued_bytes() == 0 {
            self.sends.written();
        }
        self.try_leave()
    }

    fn on_mail(&mut self, mail: Mail) -> Result<(), End> {
        let Mail { answers, pushes, mark, passing, posts, channel_marks, receipts, signals, notice } = mail;
        for (tag, answer) in answers {
            if let Some((id, receipt, at)) = self.sends.answered(tag, answer) {
                let metrics = &self.gateway.parts.metrics;
                match receipt.status() {
                    ReceiptStatus::Accepted => {
                        metrics.accepted.inc();
                        metrics.receipt_seconds.observe((self.clock.now() - at) as f64 / 1_000.0);
                    }
                    ReceiptStatus::Stored => _ = metrics.confirmed.inc(),
                    ReceiptStatus::Rejected | ReceiptStatus::Unspecified => {}
                }
                self.answer_send(id, receipt);
            }
        }
        self.on_pushes(pushes, mark);
        self.on_passing(passing);
        self.on_posts(posts, channel_marks);
        for receipt in receipts {
            self.answer(frame(server_frame::Kind::Receipt(receipt)));
        }
        for signal in signals {
            let signal = server_frame::Kind::Signal(Arc::unwrap_or_clone(signal));
            // Volatile: a client that is behind does not get it later.
            if self.has_room() {
                self.transport.send(Outgoing::Signal(frame(signal)));
            } else {
                self.gateway.parts.metrics.signal_behind.inc();
            }
        }
        if let Some(notice) = notice {
            self.leaving.get_or_insert((notice, self.clock.now() + LEAVE_MS));
        }
        self.try_leave()
    }

    fn on_time(&mut self) -> Result<(), End> {
        let now = self.clock.now();
        self.feed.tick(now);
        self.subscriptions.tick(now);
        for (id, receipt) in self.sends.overdue(now) {
            self.answer_send(id, receipt);
        }
        if now_ms() >= self.identity.expires_at {
            return Err(End::unauthenticated("the token has expired; send Refresh before it does"));
        }
        self.expires = expires(&self.identity, now);
        self.look_at_taking(now);
        if self.taking.is_slow(now) {
            let refusal = Refusal::new(Code::Unavailable, "the client took nothing for 60 s");
            return Err(End::refused(CloseCode::Slow, &refusal));
        }
        self.try_leave()
    }

    /// A session that was told to end does so when its sends are answered, or after a while.
    fn try_leave(&self) -> Result<(), End> {
        match &self.leaving {
            Some((notice, at)) if self.sends.is_idle() || self.clock.now() >= *at => {
                Err(End::notice(notice, &self.gateway.alternatives))
            }
            _ => Ok(()),
        }
    }

    /// Answers a send.
    pub(super) fn answer_send(&mut self, id: u32, receipt: Receipt) {
        if receipt.status() == ReceiptStatus::Rejected {
            self.gateway.parts.metrics.rejected.count(receipt.code);
        }
        self.answer(ServerFrame { id, kind: Some(server_frame::Kind::Receipt(receipt)) });
    }

    /// Queues a small answer. What a client can make the gateway answer is bounded by what is read, and reading stops
    /// while the outbox is over its limit.
    pub(super) fn answer(&mut self, frame: ServerFrame) {
        self.transport.send(Outgoing::Frame(frame));
    }

    /// Whether the outbox takes more.
    pub(super) fn has_room(&self) -> bool {
        self.transport.queued_bytes() < self.gateway.parts.settings.outbox_bytes
    }

    fn look_at_taking(&mut self, now: u64) {
        let (written, waits) = (self.transport.written_bytes(), self.transport.queued_bytes() > 0);
        self.taking.note(written, waits, now);
    }

    fn look_at_path(&mut self) {
        let now = self.clock.now();
        if self.tally.wants_path(now) {
            self.tally.path(self.transport.path(), now);
        }
    }

    fn may_read(&self) -> bool {
        self.append.is_none()
            && self.leaving.is_none()
            && self.has_room()
            && self.sends.has_room(MAX_IN_FLIGHT)
    }

    /// Whether something follows when the transport has written: answers that count as in flight until then, a page
    /// that waits for room, a client that is not read meanwhile. A session that only delivers need not wake for it.
    fn waits_for_written(&self) -> bool {
        !self.sends.is_settled()
            || !self.feed.is_live()
            || self.subscriptions.is_busy()
            || self.leaving.is_some()
            || !self.has_room()
    }

    /// When something is due, if nothing happens before.
    fn deadline(&self, now: u64) -> u64 {
        let leaves_at = self.leaving.as_ref().map(|(_, at)| *at);
        // A page that waits for room is asked for when something was written, not at a time.
        let feed = self.feed.deadline().filter(|_| self.feed.is_live() || self.may_read_page());
        let channels = self.subscriptions.deadline(self.has_room_for_page());
        [feed, channels, self.sends.deadline(), leaves_at, self.taking.deadline(now)]
            .into_iter()
            .flatten()
            .fold(self.expires.min(now + IDLE_CHECK_MS), u64::min)
    }

    /// Sets the timer only forward in urgency: an early wake-up costs less than arming it at each turn.
    fn arm(&self, timer: &mut Pin<Box<Sleep>>, now: u64) {
        let deadline = self.clock.at(self.deadline(now));
        if timer.is_elapsed() || deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
    }
}

/// How long sends in flight are waited for when a session is told to end.
const LEAVE_MS: u64 = 3_000;
/// A session looks around at least so often.
const IDLE_CHECK_MS: u64 = 3_600_000;
