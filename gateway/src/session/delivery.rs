//! From the feed to the transport: live pushes, pages of the inbox, own messages as STORED.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use tidegate_pipeline::body::Body;
use tidegate_pipeline::store::{Page, PageEntry, Range, StoreError};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{HistoryGone, server_frame};
use tracing::warn;

use super::end::frame;
use super::worker::{Session, Work};
use crate::feed::PageResult;
use crate::gateway::now_ms;
use crate::hub::mailbox::Pushed;
use crate::transport::{Outgoing, Transport};

/// An entry as a feed holds it.
#[derive(Debug)]
pub(super) enum Entry {
    /// A message of somebody, or of another device of the user.
    Msg(Body),
    /// A message this session sent: it becomes STORED.
    Own(Body),
    /// Only the seq is left.
    Gone,
}

impl<T: Transport> Session<T> {
    /// Pushed entries, then the mark for those that were dropped.
    pub(super) fn on_pushes(&mut self, pushes: VecDeque<Pushed>, mark: u64) {
        if pushes.is_empty() && mark == 0 {
            return;
        }
        let (now, wall_ms) = (self.clock.now(), now_ms());
        let mut out = Vec::with_capacity(pushes.len());
        for Pushed { seq, body, own } in pushes {
            if !self.has_room() {
                self.feed.outbox_full(now);
            }
            let entry = if own { Entry::Own(body) } else { Entry::Msg(body) };
            self.feed.push(seq, entry, now, &mut out);
            self.write(&INBOX, &mut out, Some(wall_ms));
        }
        if mark > 0 {
            self.feed.mark(mark, now);
        }
    }

    /// Messages that are stored nowhere: they pass the feed by, and a client that is behind does not get them later.
    pub(super) fn on_passing(&mut self, bodies: Vec<Body>) {
        for body in bodies {
            if self.has_room() {
                self.gateway.parts.metrics.delivered.inc();
                let body = Some(body);
                self.transport.send(Outgoing::Deliver { timeline: INBOX.clone(), seq: 0, body });
            } else {
                self.gateway.parts.metrics.passing_behind.inc();
            }
        }
    }

    /// Asks the store for the next page when the feed wants one and there is room for it.
    pub(super) fn pump(&mut self, now: u64) {
        if self.feed.is_live() || !self.may_read_page() {
            return;
        }
        let Some(after) = self.feed.try_read(now) else { return };
        let (store, inbox) = (self.gateway.parts.store.clone(), Timeline::inbox(&self.identity.user));
        let max_bytes = self.gateway.parts.settings.outbox_bytes / 2;
        self.page = Some(Work::new(async move {
            store.page(&inbox, Range::After(after), PAGE_ENTRIES, max_bytes, now_ms()).await
        }));
    }

    /// Whether a page of the inbox may be asked for: there is room, and none is on its way.
    pub(super) fn may_read_page(&self) -> bool {
        self.page.is_none() && self.has_room_for_page()
    }

    /// Whether the outbox is below its low-water mark.
    pub(super) fn has_room_for_page(&self) -> bool {
        self.transport.queued_bytes() <= self.gateway.parts.settings.outbox_bytes / 4
    }

    pub(super) fn on_page(&mut self, page: Result<Page, StoreError>) {
        let now = self.clock.now();
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "a page is read again later");
                self.gateway.parts.metrics.page_failed.inc();
                return self.feed.page_failed(now);
            }
        };
        self.gateway.parts.metrics.page_read.inc();
        let mut out = Vec::new();
        let bounds = (page.bounds.head, page.bounds.floor);
        if let PageResult::HistoryGone(floor) = self.feed.page(entries(page), bounds, now, &mut out) {
            let gone = HistoryGone { timeline: String::new(), floor: floor.cast_signed() };
            self.answer(frame(server_frame::Kind::HistoryGone(gone)));
        }
        self.write(&INBOX, &mut out, None);
    }

    /// Gives entries of a timeline to the transport; `live_at`, in ms since 1970, is the time for those that were pushed.
    pub(super) fn write(&mut self, timeline: &Arc<str>, out: &mut Vec<(u64, Entry)>, live_at: Option<i64>) {
        for (seq, entry) in out.drain(..) {
            self.count(&entry, live_at);
            self.transport.send(match entry {
                Entry::Own(body) => Outgoing::Stored { seq, body },
                Entry::Msg(body) => Outgoing::Deliver { timeline: timeline.clone(), seq, body: Some(body) },
                Entry::Gone => Outgoing::Deliver { timeline: timeline.clone(), seq, body: None },
            });
        }
    }

    fn count(&self, entry: &Entry, live_at: Option<i64>) {
        let metrics = &self.gateway.parts.metrics;
        match entry {
            Entry::Msg(body) => {
                metrics.delivered.inc();
                if let Some(now) = live_at {
                    metrics.delivery_seconds.observe((now - body.send_time()) as f64 / 1_000.0);
                    body.trace("deliver");
                }
            }
            Entry::Own(_) => _ = metrics.confirmed.inc(),
            Entry::Gone => {}
        }
    }
}

/// A page as a feed takes it.
pub(super) fn entries(page: Page) -> impl Iterator<Item = (u64, Entry)> {
    page.entries.into_iter().map(|(seq, entry)| match entry {
        PageEntry::Msg(body) => (seq, Entry::Msg(body)),
        PageEntry::Gone => (seq, Entry::Gone),
    })
}

/// The name of the own inbox on the wire.
static INBOX: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

/// The most entries of a page for a feed.
pub(super) const PAGE_ENTRIES: usize = 500;
