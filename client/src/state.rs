//! What a client knows beyond one session, and what each frame of the server does to it. No IO, no clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tidegate_proto::Refusal;
use tidegate_proto::framing::put_frame;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{
    ClientFrame, CloseCode, Code, Deliver, Error, GoAway, HistoryGone, Msg, Page, Receipt, ReceiptStatus,
    Send, ServerFrame, Unsubscribed, Welcome, client_frame, deliver, server_frame,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::channels::{Channels, Refused};
use crate::config::{Config, Start};
use crate::event::{Disconnect, Event, Message, Position};
use crate::inbox::{Arrival, Inbox};
use crate::mailbox::Mailbox;
use crate::pending::Pending;
use crate::requests::{Answer, Ask, Requests};
use crate::send::{SendError, Stored, Waiter};
use crate::transport::LinkError;

/// The inbox, the sends, the requests, and where events go.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) inbox: Inbox,
    pub(crate) pending: Pending<Waiter>,
    pub(crate) requests: Requests,
    pub(crate) channels: Channels,
    pub(crate) mailbox: Arc<Mailbox>,
    /// What the application gave in place of the token of the configuration.
    pub(crate) new_token: Option<String>,
    user: String,
    own_inbox: String,
    acked: i64,
    starts_at_stored: bool,
    raw_frames: bool,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// By a last frame, or a close of the server's.
    Closed(Close),
    /// Without one.
    Lost(Disconnect),
    /// The application wants to leave.
    Left,
}

/// What a server says when it closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: CloseCode,
    pub(crate) message: String,
    pub(crate) retry_after_ms: i64,
    pub(crate) alternatives: Vec<String>,
}

impl State {
    pub(crate) fn new(config: &Config, mailbox: Arc<Mailbox>) -> Self {
        let inbox = match &config.start {
            Start::At(position) => Inbox::resumed(position.clone()),
            Start::Stored | Start::Head | Start::Floor => Inbox::default(),
        };
        Self {
            inbox,
            pending: Pending::new(),
            requests: Requests::default(),
            channels: Channels::default(),
            mailbox,
            new_token: None,
            user: String::new(),
            own_inbox: String::new(),
            acked: 0,
            starts_at_stored: config.start == Start::Stored,
            raw_frames: config.raw_frames,
        }
    }

    /// A session has begun: takes over what Welcome says, and all that is unanswered is due again. True when the
    /// application's seqs are void.
    pub(crate) fn welcome(&mut self, welcome: &Welcome) -> bool {
        let first = self.inbox.position().is_none();
        let reset = self.inbox.welcome(&welcome.epoch, welcome.start, welcome.head);
        if first && self.starts_at_stored {
            self.acked = welcome.start;
        } else if reset {
            self.acked = 0;
        }
        self.user.clone_from(&welcome.user_id);
        self.own_inbox = format!("i:{}", welcome.user_id);
        let window = welcome.limits.as_ref().map_or(i64::MAX, |limits| limits.max_in_flight);
        // 0: the server does not say.
        self.pending.start_session(if window == 0 { i64::MAX } else { window });
        self.requests.start_session();
        self.channels.start_session(reset);
        reset
    }

    /// Adds a message to send.
    pub(crate) fn send(&mut self, msg: Msg, waiter: Waiter) {
        let id = self.requests.number();
        let local_id = msg.local_id.clone();
        let frame = ClientFrame { id, kind: Some(client_frame::Kind::Send(Send { msg: Some(msg) })) };
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, &frame);
        if bytes.len() > MAX_FRAME_BYTES {
            let message =
                format!("the message takes {} bytes, over the limit of {MAX_FRAME_BYTES}", bytes.len());
            waiter.fail(SendError::Rejected(Refusal::new(Code::TooLarge, message)));
        } else if let Err(waiter) = self.pending.push(&local_id, id, bytes.freeze(), waiter) {
            waiter.fail(SendError::Pending(local_id));
        }
    }

    /// Adds a request. A new token is for the next session too, whatever this one says to it: the old one is about to
    /// expire.
    pub(crate) fn ask(&mut self, ask: Ask, waiter: oneshot::Sender<Result<Answer, Refusal>>) {
        if let Ask::Refresh(token) = &ask {
            self.new_token = Some(token.clone());
        }
        self.requests.ask(ask, waiter);
    }

    /// Takes a frame; the error ends the session. `random` is in 0.0..1.0.
    pub(crate) fn receive(&mut self, frame: ServerFrame, now: Instant, random: f64) -> Result<(), End> {
        if self.raw_frames {
            self.put(Event::Frame(frame.clone()), 0);
        }
        let id = frame.id;
        match frame.kind {
            Some(server_frame::Kind::Receipt(receipt)) => self.receipt(receipt, now, random)?,
            Some(server_frame::Kind::Deliver(deliver)) => self.deliver(deliver)?,
            Some(server_frame::Kind::Page(page)) => self.page(id, page),
            Some(server_frame::Kind::Pong(_)) => self.requests.pong(id, now),
            Some(server_frame::Kind::Signal(signal)) => {
                let bytes = signal.content.len();
                self.put(Event::Signal(signal), bytes);
            }
            Some(server_frame::Kind::HistoryGone(gone)) => self.history_gone(gone),
            Some(server_frame::Kind::Subscribed(subscribed)) => self.channels.subscribed(id, subscribed),
            Some(server_frame::Kind::Unsubscribed(unsubscribed)) => self.unsubscribed(unsubscribed),
            Some(server_frame::Kind::GoAway(go_away)) => return Err(End::Closed(go_away.into())),
            Some(server_frame::Kind::Error(error)) => self.error(id, error, now, random)?,
            Some(server_frame::Kind::Welcome(_)) => return Err(broken("a second Welcome")),
            None => {}
            Some(other) if !self.raw_frames => {
                self.put(Event::Frame(ServerFrame { id, kind: Some(other) }), 0);
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// The cursor to acknowledge, when `position` is further than what the server knows.
    pub(crate) fn start_ack(&mut self, position: Option<Position>) -> Option<i64> {
        let position = position?;
        let current = self.inbox.position()?;
        if position.epoch != current.epoch || position.cursor <= self.acked {
            return None;
        }
        self.acked = position.cursor;
        Some(position.cursor)
    }

    /// Whether something has arrived that is not acknowledged yet, and that the application may have come for.
    pub(crate) fn has_unacknowledged(&self) -> bool {
        self.inbox.cursor() > self.acked && self.mailbox.may_have_progress()
    }

    /// Tells the application something.
    pub(crate) fn put(&self, event: Event, bytes: usize) {
        self.mailbox.put(event, bytes + EVENT_BYTES, self.inbox.position());
    }

    fn receipt(&mut self, receipt: Receipt, now: Instant, random: f64) -> Result<(), End> {
        match receipt.status() {
            ReceiptStatus::Accepted => {
                if let Some(waiter) = self.pending.accepted(&receipt.local_id, now) {
                    waiter.accept(&receipt.server_id, receipt.send_time);
                }
            }
            ReceiptStatus::Stored => {
                if receipt.seq > 0 {
                    self.arrive(receipt.seq)?;
                    self.mailbox.advance(self.inbox.position());
                }
                if let Some(waiter) = self.pending.finished(&receipt.local_id) {
                    waiter.store(receipt.into());
                }
            }
            ReceiptStatus::Rejected => {
                let refusal = Refusal {
                    code: receipt.code(),
                    message: receipt.message,
                    retry_after_ms: receipt.retry_after_ms,
                };
                self.refused(&receipt.local_id, refusal, now, random);
            }
            ReceiptStatus::Unspecified => {}
        }
        Ok(())
    }

    fn deliver(&mut self, deliver: Deliver) -> Result<(), End> {
        let Deliver { timeline, seq, entry } = deliver;
        let is_inbox = self.is_own_inbox(&timeline);
        if is_inbox && seq > 0 && self.arrive(seq)? == Arrival::Known {
            return Ok(());
        }
        if let Some(channel) = timeline.strip_prefix(CHANNEL)
            && !self.channels.arrive(channel, seq)
        {
            return Ok(());
        }
        let timeline = if is_inbox { String::new() } else { timeline };
        match entry {
            Some(deliver::Entry::Msg(msg)) => self.message(timeline, seq, msg),
            Some(deliver::Entry::Gone(_)) => self.put(Event::Gone { timeline, seq }, 0),
            None => self.mailbox.advance(self.inbox.position()),
        }
        Ok(())
    }

    fn message(&mut self, timeline: String, seq: i64, msg: Msg) {
        // Seq 0: a backend's word to whoever is there, stored nowhere; its local_id is nobody's here.
        if seq > 0
            && timeline.is_empty()
            && msg.send_id == self.user
            && let Some(waiter) = self.pending.finished(&msg.local_id)
        {
            // The own message in place of its STORED, which went to a session that is no more.
            let Msg { server_id, send_time, conv_seq, .. } = msg;
            waiter.store(Stored { server_id, send_time, seq, conv_seq });
            self.mailbox.advance(self.inbox.position());
            return;
        }
        let Some(position) = self.inbox.position() else { return };
        let bytes = msg.content.len();
        self.put(Event::Message(Message { timeline, seq, msg: Msg { seq, ..msg }, position }), bytes);
    }

    fn page(&mut self, id: u32, mut page: Page) {
        if self.is_own_inbox(&page.timeline) {
            for entry in &mut page.entries {
                if let Some(deliver::Entry::Msg(msg)) = &mut entry.entry {
                    msg.seq = entry.seq;
                }
            }
        }
        self.requests.page(id, page);
    }

    fn history_gone(&mut self, gone: HistoryGone) {
        let HistoryGone { timeline, floor } = gone;
        let is_inbox = self.is_own_inbox(&timeline);
        if is_inbox {
            self.inbox.history_gone(floor);
        } else if let Some(channel) = timeline.strip_prefix(CHANNEL)
            && !self.channels.history_gone(channel, floor)
        {
            return;
        }
        let timeline = if is_inbox { String::new() } else { timeline };
        self.put(Event::HistoryGone { timeline, floor }, 0);
    }

    /// The answer to an Unsubscribe is for nobody; unasked it ends what the application still wants.
    fn unsubscribed(&mut self, unsubscribed: Unsubscribed) {
        let Unsubscribed { channel, reason } = unsubscribed;
        if !reason.is_empty() && self.channels.unsubscribe(&channel) {
            self.put(Event::Unsubscribed { channel, reason }, 0);
        }
    }

    fn error(&mut self, frame_id: u32, error: Error, now: Instant, random: f64) -> Result<(), End> {
        if error.close != 0 {
            return Err(End::Closed(error.into()));
        }
        let id = if error.id == 0 { frame_id } else { error.id };
        let refusal = Refusal {
            code: error.code(),
            message: error.message.clone(),
            retry_after_ms: error.retry_after_ms,
        };
        if id != 0 && self.requests.refused(id, refusal.clone()) {
            return Ok(());
        }
        match self.channels.refused(id, &refusal, now) {
            Refused::NotOurs => {}
            Refused::Settled => return Ok(()),
            Refused::Ended(channel) => {
                self.put(Event::Unsubscribed { channel, reason: refusal.message }, 0);
                return Ok(());
            }
        }
        if let Some(local_id) = self.pending.local_id_of(id) {
            self.refused(&local_id, refusal, now, random);
        } else if !self.raw_frames {
            self.put(Event::Frame(ServerFrame { id, kind: Some(server_frame::Kind::Error(error)) }), 0);
        }
        Ok(())
    }

    fn refused(&mut self, local_id: &str, refusal: Refusal, now: Instant, random: f64) {
        if refusal.is_passing() {
            let retry_after = Duration::from_millis(refusal.retry_after_ms.try_into().unwrap_or(0));
            self.pending.refused_for_now(local_id, retry_after, now, random);
        } else if let Some(waiter) = self.pending.finished(local_id) {
            waiter.fail(SendError::Rejected(refusal));
        }
    }

    fn arrive(&mut self, seq: i64) -> Result<Arrival, End> {
        match self.inbox.arrive(seq) {
            Arrival::TooFar => Err(End::Lost(Disconnect::HoleTooLarge)),
            arrival => Ok(arrival),
        }
    }

    fn is_own_inbox(&self, timeline: &str) -> bool {
        timeline.is_empty() || timeline == self.own_inbox
    }
}

impl From<GoAway> for Close {
    fn from(go_away: GoAway) -> Self {
        let code = match go_away.reason() {
            CloseCode::Unspecified => CloseCode::Draining,
            code => code,
        };
        let GoAway { retry_after_ms, alternatives, message, .. } = go_away;
        Self { code, message, retry_after_ms, alternatives }
    }
}

impl From<Error> for Close {
    fn from(error: Error) -> Self {
        let code = match error.close() {
            // A number of a newer server's, or none at all.
            CloseCode::Unspecified if error.code() == Code::Unauthenticated => CloseCode::Unauthenticated,
            CloseCode::Unspecified => CloseCode::Internal,
            code => code,
        };
        let Error { message, retry_after_ms, .. } = error;
        Self { code, message, retry_after_ms, alternatives: Vec::new() }
    }
}

impl Close {
    /// Whether connecting again makes no sense without a change (docs/PROTOCOL.md "Errors and closing").
    pub(crate) fn is_final(&self) -> bool {
        (4100..4200).contains(&(self.code as i32))
    }
}

impl From<LinkError> for End {
    /// A close code of ours counts like a last frame, whose place it takes.
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Closed { code, reason } => {
                match i32::try_from(code).ok().and_then(|code| CloseCode::try_from(code).ok()) {
                    Some(code) if code != CloseCode::Unspecified => Self::Closed(Close {
                        code,
                        message: reason,
                        retry_after_ms: 0,
                        alternatives: Vec::new(),
                    }),
                    _ => Self::Lost(Disconnect::Broken(LinkError::Closed { code, reason })),
                }
            }
            other => Self::Lost(Disconnect::Broken(other)),
        }
    }
}

fn broken(rule: &'static str) -> End {
    End::Lost(Disconnect::Broken(LinkError::Protocol(rule)))
}

/// Timelines of channels begin so.
const CHANNEL: &str = "c:";
/// About what an event takes besides its content.
const EVENT_BYTES: usize = 512;
