//! What a client asks for: each frame (docs/PROTOCOL.md "Frames"), its checks and its answer.

use std::iter;
use std::sync::Arc;

use tidegate_pipeline::history;
use tidegate_pipeline::log::{NotAppended, Waiter};
use tidegate_pipeline::record::Record;
use tidegate_pipeline::store::{Page, StoreError};
use tidegate_pipeline::submit::draw_local_id;
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::limits::{MAX_PAGE_BYTES, MAX_SIGNAL_BYTES, MAX_SIGNAL_KIND_BYTES};
use tidegate_proto::message::Target;
use tidegate_proto::timeline::{Timeline, TimelineKind};
use tidegate_proto::v1::{
    ClientFrame, CloseCode, Code, Head, Msg, Pong, Pull, ServerFrame, Signal, client_frame, server_frame,
};

use super::end::{End, error_frame};
use super::in_flight::rejected;
use super::worker::{Session, Work, expires};
use crate::gateway::now_ms;
use crate::transport::{Outgoing, Transport};

/// A Pull that is being answered.
#[derive(Debug)]
pub(super) struct PullRequest {
    id: u32,
    /// As the client named it.
    timeline: String,
}

impl<T: Transport> Session<T> {
    pub(super) fn on_frame(&mut self, frame: ClientFrame) -> Result<(), End> {
        use client_frame::Kind;
        let id = frame.id;
        match frame.kind {
            Some(Kind::Send(send)) => self.on_send(id, send.msg.unwrap_or_default()),
            Some(Kind::Ack(ack)) => {
                if let Err(refusal) = self.on_ack(ack.cursor) {
                    self.answer(error_frame(id, refusal));
                }
            }
            Some(Kind::Pull(pull)) => {
                if let Err(refusal) = self.on_pull(id, &pull) {
                    self.answer(error_frame(id, refusal));
                }
            }
            Some(Kind::Signal(signal)) => {
                if let Err(refusal) = self.on_signal(signal) {
                    self.answer(error_frame(id, refusal));
                }
            }
            Some(Kind::Ping(_)) => {
                let inbox = Head { timeline: String::new(), head: self.feed.head().cast_signed() };
                let heads = iter::once(inbox).chain(self.subscriptions.heads()).collect();
                self.answer(ServerFrame { id, kind: Some(server_frame::Kind::Pong(Pong { heads })) });
            }
            Some(Kind::Refresh(refresh)) => {
                if let Err(refusal) = self.on_refresh(&refresh.token) {
                    self.answer(error_frame(id, refusal));
                }
            }
            Some(Kind::Bye(_)) => return Err(End::go_away(CloseCode::Normal, "goodbye", 0)),
            Some(Kind::Hello(_)) => return Err(End::protocol_error("a second Hello")),
            Some(Kind::Mark(_)) => self.unimplemented(id, "Mark"),
            Some(Kind::Subscribe(subscribe)) => {
                if let Err(refusal) = self.on_subscribe(id, &subscribe) {
                    self.answer(error_frame(id, refusal));
                }
            }
            Some(Kind::Unsubscribe(unsubscribe)) => {
                if let Err(refusal) = self.on_unsubscribe(id, &unsubscribe.channel) {
                    self.answer(error_frame(id, refusal));
                }
            }
            Some(Kind::Presence(_)) => self.unimplemented(id, "Presence"),
            None => {
                let message = "a frame of an unknown kind, or of none";
                self.answer(error_frame(id, Refusal::new(Code::Unimplemented, message)));
            }
        }
        Ok(())
    }

    /// Only signals come as datagrams; whatever else does, or does not pass, is dropped like a late one.
    pub(super) fn on_datagram(&mut self, frame: ClientFrame) {
        if let Some(client_frame::Kind::Signal(signal)) = frame.kind {
            let _ = self.on_signal(signal);
        }
    }

    fn on_send(&mut self, id: u32, msg: Msg) {
        self.gateway.parts.metrics.received.inc();
        let local_id = msg.local_id.clone();
        if let Err(refusal) = self.try_send(id, msg) {
            self.answer_send(id, rejected(local_id, refusal));
        }
    }

    fn try_send(&mut self, id: u32, msg: Msg) -> Result<(), Refusal> {
        let now = self.clock.now();
        self.messages.try_take(now).map_err(|wait| rate_limited("messages", wait))?;
        let origin = self.gateway.origin(self.mailbox.session());
        let mut record = Record::new(msg, &self.identity.user, now_ms(), draw_local_id, Some(origin))?;
        match &record.target {
            Target::User(_) => {}
            Target::Group(_) => return Err(Refusal::new(Code::Unimplemented, "groups are not built yet")),
            Target::Channel(channel) => self.try_publish(channel)?,
        }
        let tag = self.sends.sent(id, record.local_id.as_str(), &record.server_id, now);
        let waiter = Waiter::new(self.mailbox.clone(), tag);
        if self.gateway.parts.passing.takes(&record) {
            self.gateway.parts.passing.pass(record, waiter);
            return Ok(());
        }
        let waiter = waiter.traced(self.gateway.parts.settings.sampling.begin(&mut record));
        if let Err(NotAppended::Full(appended)) = self.gateway.parts.log.try_append(record, waiter) {
            let log = self.gateway.parts.log.clone();
            self.append = Some(Work::new(async move { log.append(appended.record, appended.waiter).await }));
        }
        Ok(())
    }

    fn on_ack(&mut self, cursor: i64) -> Result<(), Refusal> {
        // Not what this session was sent: with lanes the client may have more of an earlier one, above the hole that
        // this session filled.
        let head = self.feed.head();
        let cursor = u64::try_from(cursor)
            .ok()
            .filter(|cursor| *cursor <= head)
            .ok_or_else(|| Refusal::invalid(format!("cursor must be 0 to {head}, the head of the inbox")))?;
        if cursor > self.acked {
            self.acked = cursor;
            self.gateway.cursors.note(&self.identity.user, &self.device, cursor);
        }
        Ok(())
    }

    fn on_pull(&mut self, id: u32, pull: &Pull) -> Result<(), Refusal> {
        if self.pull.is_some() {
            return Err(Refusal::new(Code::Limit, "one Pull at a time; wait for its Page"));
        }
        let timeline = self.readable(&pull.timeline)?;
        let (range, limit) = history::range(pull)?;
        let store = self.gateway.parts.store.clone();
        let work = async move { store.page(&timeline, range, limit, PAGE_CONTENT_BYTES, now_ms()).await };
        let request = PullRequest { id, timeline: pull.timeline.clone() };
        self.pull = Some((request, Work::new(work)));
        Ok(())
    }

    fn readable(&self, name: &str) -> Result<Timeline, Refusal> {
        if name.is_empty() {
            return Ok(Timeline::inbox(&self.identity.user));
        }
        let timeline = Timeline::parse(name)?;
        if let TimelineKind::Channel(channel) = timeline.kind() {
            self.may_subscribe(&channel)?;
            return Ok(timeline);
        }
        if timeline.is_readable_by(&self.identity.user) {
            return Ok(timeline);
        }
        Err(Refusal::new(Code::PermissionDenied, "no such timeline, or it is not yours to read"))
    }

    pub(super) fn answer_pull(&mut self, request: &PullRequest, page: Result<Page, StoreError>) {
        let id = request.id;
        let Ok(page) = page else {
            let refusal = Refusal::new(Code::Unavailable, "the store does not answer; pull again");
            return self.answer(error_frame(id, refusal));
        };
        let page = history::page(request.timeline.clone(), page);
        self.transport.send(Outgoing::Page(ServerFrame { id, kind: Some(server_frame::Kind::Page(page)) }));
    }

    fn on_signal(&mut self, mut signal: Signal) -> Result<(), Refusal> {
        self.signals.try_take(self.clock.now()).map_err(|wait| rate_limited("signals", wait))?;
        if signal.content.len() > MAX_SIGNAL_BYTES || signal.kind.len() > MAX_SIGNAL_KIND_BYTES {
            let message =
                format!("a signal has at most {MAX_SIGNAL_BYTES} bytes, its kind {MAX_SIGNAL_KIND_BYTES}");
            return Err(Refusal::new(Code::TooLarge, message));
        }
        if !signal.group.is_empty() || !signal.channel.is_empty() {
            return Err(Refusal::new(
                Code::Unimplemented,
                "signals to groups and channels are not built yet",
            ));
        }
        let user = UserId::new(&signal.user)?;
        signal.from = self.identity.user.as_str().to_owned();
        let signal = Arc::new(signal);
        self.gateway.hub.signal(&user, &signal, Some(self.mailbox.session()));
        let parts = &self.gateway.parts;
        if parts.presence.is_shared() && !parts.passing.signal(user, signal) {
            parts.metrics.signal_full.inc();
        }
        Ok(())
    }

    fn on_refresh(&mut self, token: &str) -> Result<(), Refusal> {
        self.refreshes.try_take(self.clock.now()).map_err(|wait| rate_limited("tokens", wait))?;
        let identity = self.gateway.parts.auth.verify(token, now_ms())?;
        let other_device = identity.device.as_ref().is_some_and(|only| *only != self.device);
        if identity.user != self.identity.user || other_device {
            return Err(Refusal::new(Code::Unauthenticated, "the token is for another user or device"));
        }
        self.expires = expires(&identity, self.clock.now());
        self.identity = identity;
        self.end_what_is_not_granted();
        Ok(())
    }

    fn unimplemented(&mut self, id: u32, what: &str) {
        let message = format!("{what}: not built yet");
        self.answer(error_frame(id, Refusal::new(Code::Unimplemented, message)));
    }
}

pub(super) fn rate_limited(what: &str, wait_ms: u64) -> Refusal {
    let message = format!("too many {what}; wait {wait_ms} ms");
    Refusal { code: Code::RateLimited, message, retry_after_ms: wait_ms.cast_signed() }
}

/// What the bodies of a Page may take, so that the frame with its entries' few bytes each stays within its limit.
const PAGE_CONTENT_BYTES: usize = MAX_PAGE_BYTES - 8 * 1024;
