//! The worker of a link to another gateway: finds it by its lease, opens the stream, sends what waits, opens it again
//! when it breaks. What was on its way then is not sent again: the gateway checks heads at a break and an opening.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until, timeout};
use tonic::Status;
use tracing::{debug, info, warn};

use super::Shared;
use super::dial::{OpenError, Stream};
use super::link::Receiver;
use super::window::{Backoff, MAX_UNTAKEN, Window};
use super::wire::{CUT_BYTES, Cutter};
use crate::presence::lease::Lease;
use crate::rpc::v1::{Close, Handover, Taken, handed, handover};

/// Works off what waits for one gateway.
#[derive(Debug)]
pub(super) struct Worker {
    gateway: Arc<str>,
    queue: Receiver,
    shared: Arc<Shared>,
    lease: Option<Lease>,
    gone_since: Option<Instant>,
    /// The gateway ended the last link in order: once its lease is gone too, nobody comes back.
    stopped: bool,
}

/// Why an open link has ended.
#[derive(Debug, thiserror::Error)]
enum Break {
    #[error("the gateway has ended it")]
    Ended(#[source] Option<Status>),
    #[error("the gateway has stopped")]
    Stopped,
    #[error("the gateway takes nothing")]
    Stalled,
    #[error("the gateway says that it took what it did not get")]
    Nonsense,
    #[error("the gateway has another incarnation")]
    Another,
    #[error("the gateway has no lease any more")]
    Gone,
}

impl Worker {
    pub(super) fn new(gateway: Arc<str>, queue: Receiver, shared: Arc<Shared>) -> Self {
        Self { gateway, queue, shared, lease: None, gone_since: None, stopped: false }
    }

    /// Runs until the link is closed and everything handed over, or the gateway is without a lease for long.
    pub(super) async fn run(mut self) {
        let _listed = Listed { gateway: self.gateway.clone(), shared: self.shared.clone() };
        let mut backoff = Backoff::default();
        if !self.queue.filled().await {
            return;
        }
        loop {
            let lease = self.look_up().await;
            if self.is_gone() {
                info!(gateway = &*self.gateway, "a gateway is gone: its link is closed");
                return;
            }
            if let Some(lease) = lease {
                match self.shared.dialer.open(&lease, MAX_UNTAKEN).await {
                    Ok(stream) => {
                        self.shared.metrics.opened.inc();
                        let opened = Instant::now();
                        self.stopped = false;
                        info!(gateway = &*self.gateway, address = &*lease.address, "a link is open");
                        if self.serve(stream, &lease).await {
                            return;
                        }
                        backoff.lived(opened.elapsed());
                    }
                    Err(error) => self.not_open(&error),
                }
            }
            if self.queue.is_done() {
                return;
            }
            sleep(backoff.next(rand::random())).await;
        }
    }

    /// The gateway's lease; while presence does not answer, the last one known.
    async fn look_up(&mut self) -> Option<Lease> {
        match timeout(LOOK_UP_LIMIT, self.shared.routes.presence().lease(&self.gateway)).await {
            Ok(Ok(Some(lease))) => {
                self.gone_since = None;
                self.lease = Some(lease);
            }
            Ok(Ok(None)) => {
                self.gone_since.get_or_insert_with(Instant::now);
                self.lease = None;
            }
            Ok(Err(_)) | Err(_) => debug!(gateway = &*self.gateway, "presence does not tell the lease"),
        }
        self.lease.clone()
    }

    fn is_gone(&self) -> bool {
        let long = if self.stopped { Duration::ZERO } else { GONE_AFTER };
        self.gone_since.is_some_and(|since| since.elapsed() >= long)
    }

    fn not_open(&self, error: &OpenError) {
        let metrics = &self.shared.metrics;
        match error {
            OpenError::Another => {
                metrics.refused.inc();
                self.shared.routes.presence().forget(&self.gateway);
            }
            OpenError::Refused(_) => _ = metrics.refused.inc(),
            OpenError::Address(_) | OpenError::Unreachable(_) | OpenError::Silent => _ = metrics.failed.inc(),
        }
        warn!(gateway = &*self.gateway, error = error as &dyn std::error::Error, "a link is not open");
    }

    /// Serves an open link; true when it is closed for good.
    async fn serve(&mut self, mut stream: Stream, lease: &Lease) -> bool {
        self.shared.metrics.open.inc();
        let broke = {
            let shared = self.shared.clone();
            tokio::select! {
                broke = self.hand_over(&mut stream, lease.incarnation) => broke,
                broke = watch(&shared, lease) => Err(broke),
            }
        };
        self.shared.metrics.open.dec();
        let Err(broke) = broke else {
            stream.close().await;
            return true;
        };
        self.shared.routes.presence().forget(&self.gateway);
        if matches!(broke, Break::Stopped) {
            self.stopped = true;
            info!(gateway = &*self.gateway, "a gateway has stopped");
            return false;
        }
        self.shared.metrics.breaks.inc();
        warn!(gateway = &*self.gateway, error = &broke as &dyn std::error::Error, "a link broke");
        matches!(broke, Break::Gone)
    }

    /// Sends what waits, a bounded part of it at a time, until the link is closed and all is taken.
    async fn hand_over(&mut self, stream: &mut Stream, incarnation: u64) -> Result<(), Break> {
        let mut cutter = Cutter::new(incarnation);
        let mut window = Window::new(Instant::now());
        let mut closed = false;
        loop {
            while let Some(batch) = window.next(Instant::now()) {
                self.shared.metrics.batches.inc();
                let batch = Handover { kind: Some(handover::Kind::Batch(batch)) };
                // There is room for as many as the window lets through, unless the stream has ended: its answers say why.
                let _ = stream.to.try_send(batch);
            }
            if closed && window.is_done() {
                return Ok(());
            }
            let deadline = window.deadline();
            tokio::select! {
                answer = stream.from.message() => {
                    let answer = answer.map_err(|status| Break::Ended(Some(status)))?;
                    let taken = match answer.ok_or(Break::Stopped)?.kind {
                        Some(handed::Kind::Taken(taken)) => taken,
                        _ => return Err(Break::Nonsense),
                    };
                    self.taken(&taken, &mut window)?;
                }
                handed = self.queue.take_some(CUT_BYTES), if window.has_room() && !closed => match handed {
                    Some(handed) => window.add(cutter.cut(handed)),
                    None => closed = true,
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return Err(Break::Stalled);
                }
            }
        }
    }

    fn taken(&self, taken: &Taken, window: &mut Window) -> Result<(), Break> {
        if !window.take(taken.number, Instant::now()) {
            return Err(Break::Nonsense);
        }
        if !taken.not_here.is_empty() {
            self.shared.metrics.not_here.inc_by(taken.not_here.len() as u64);
            self.shared.routes.forget_users(&taken.not_here);
        }
        self.shared.routes.forget_channels(&taken.not_subscribed);
        Ok(())
    }
}

impl Stream {
    /// Says that nothing is lost by the end, and waits a moment for it to arrive.
    async fn close(mut self) {
        let close = Handover { kind: Some(handover::Kind::Close(Close {})) };
        if self.to.send(close).await.is_ok() {
            drop(self.to);
            let _ =
                timeout(CLOSE_LIMIT, async { while let Ok(Some(_)) = self.from.message().await {} }).await;
        }
    }
}

/// Whether the lease of an open link is still there; what presence does not tell is no news.
async fn watch(shared: &Shared, lease: &Lease) -> Break {
    let mut tick = interval_at(Instant::now() + WATCH_EVERY, WATCH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone_since = None;
    loop {
        tick.tick().await;
        match shared.routes.presence().lease(&lease.id).await {
            Ok(Some(now)) if now.incarnation != lease.incarnation => return Break::Another,
            Ok(Some(_)) => gone_since = None,
            Ok(None) => {
                let since = *gone_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= GONE_AFTER {
                    return Break::Gone;
                }
            }
            Err(_) => {}
        }
    }
}

/// The link's place among the pusher's; dropping it takes the link out.
#[derive(Debug)]
struct Listed {
    gateway: Arc<str>,
    shared: Arc<Shared>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.shared.remove(&self.gateway);
    }
}

/// How long a gateway is without a lease before its link is closed: a lost lease comes back within some seconds.
const GONE_AFTER: Duration = Duration::from_secs(30);
const WATCH_EVERY: Duration = Duration::from_secs(3);
const LOOK_UP_LIMIT: Duration = Duration::from_secs(2);
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
