//! The connection task of a client: one session after the other, until it is over.

use std::time::Duration;

use tidegate_proto::v1::CloseCode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::command::{Command, Inlet};
use crate::config::Config;
use crate::connect::{ConnectError, Connector, Opened};
use crate::event::{Connected, Disconnect, Event};
use crate::send::SendError;
use crate::session::Session;
use crate::state::{Close, End, State};

/// Everything the task owns.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) connector: Connector,
    pub(crate) state: State,
    pub(crate) inlet: Inlet,
    /// Cancelled when the task has ended, however it ends.
    pub(crate) done: CancellationToken,
}

impl Worker {
    /// Lives through sessions, the first of them `opened`.
    pub(crate) async fn run(mut self, opened: Opened) {
        let mut backoff = Backoff::new(self.config.backoff.0, self.config.backoff.1);
        let mut next = Some(opened);
        let reason = loop {
            let opened = match next.take() {
                Some(opened) => opened,
                None => match self.reconnect(&mut backoff).await {
                    Ok(opened) => opened,
                    Err(reason) => break reason,
                },
            };
            let begin = Instant::now();
            let end = self.session(opened).await;
            if begin.elapsed() >= SETTLED_AFTER {
                backoff.settled();
            }
            let (reason, wait) = match self.after(end, &mut backoff) {
                Ok(next) => next,
                Err(reason) => break reason,
            };
            tracing::debug!(%reason, ?wait, "a session has ended");
            self.state.put(Event::Disconnected(reason), 0);
            if self.offline(sleep(wait)).await.is_none() {
                break Disconnect::Left;
            }
        };
        tracing::debug!(%reason, "the client has ended");
        self.state.put(Event::Closed(reason), 0);
    }

    async fn session(&mut self, opened: Opened) -> End {
        let Opened { link, welcome, transport, server } = opened;
        let reset = self.state.welcome(&welcome);
        let heartbeat_ms = welcome.heartbeat_ms;
        self.state.put(Event::Connected(Connected { welcome, transport, server, reset }), 0);
        let session = Session::new(link, &mut self.state, &self.config, heartbeat_ms);
        session.run(&mut self.inlet).await
    }

    /// What follows the end of a session: the reason and a wait before the next one, or the end.
    fn after(&mut self, end: End, backoff: &mut Backoff) -> Result<(Disconnect, Duration), Disconnect> {
        match end {
            End::Left => Err(Disconnect::Left),
            End::Lost(Disconnect::Dropped) => Ok((Disconnect::Dropped, Duration::ZERO)),
            End::Lost(reason) => Ok((reason, backoff.failed(rand::random()))),
            End::Closed(close) => {
                self.connector.note(&close);
                let retry_after = Duration::from_millis(close.retry_after_ms.try_into().unwrap_or(0));
                let wait = retry_after.min(RETRY_AFTER_CAP).max(backoff.failed(rand::random()));
                let is_final = close.is_final() && !self.may_get_a_token(&close);
                if !is_final {
                    let Close { code, retry_after_ms, ref alternatives, .. } = close;
                    let alternatives = alternatives.clone();
                    self.state.put(Event::GoAway { reason: code, retry_after_ms, alternatives }, 0);
                }
                let reason = Disconnect::Closed { code: close.code, message: close.message };
                if is_final { Err(reason) } else { Ok((reason, wait)) }
            }
        }
    }

    fn may_get_a_token(&self, close: &Close) -> bool {
        let has_another = self.connector.has_token_source() || self.state.new_token.is_some();
        close.code == CloseCode::Unauthenticated && has_another
    }

    /// Tries until a session can begin, or it makes no sense.
    async fn reconnect(&mut self, backoff: &mut Backoff) -> Result<Opened, Disconnect> {
        loop {
            let mailbox = self.state.mailbox.clone();
            let room = async {
                while !mailbox.has_room() {
                    mailbox.drained().await;
                }
            };
            // Without it the queue would grow by a few events with each session.
            self.offline(room).await.ok_or(Disconnect::Left)?;
            let error = match self.round().await.ok_or(Disconnect::Left)? {
                Ok(opened) => return Ok(opened),
                Err(error) if error.is_final() => return Err(Disconnect::Refused(error)),
                Err(error) => error,
            };
            let wait = error.retry_after().min(RETRY_AFTER_CAP).max(backoff.failed(rand::random()));
            tracing::debug!(error = &error as &dyn std::error::Error, ?wait, "no session");
            self.offline(sleep(wait)).await.ok_or(Disconnect::Left)?;
        }
    }

    async fn round(&mut self) -> Option<Result<Opened, ConnectError>> {
        if let Some(token) = self.state.new_token.take() {
            self.connector.refresh(token);
        }
        let position = self.state.inbox.position();
        let Self { connector, state, inlet, .. } = self;
        while_offline(state, inlet, connector.round(position)).await
    }

    async fn offline<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        while_offline(&mut self.state, &mut self.inlet, work).await
    }
}

impl Drop for Worker {
    /// Nobody waits for what will not come, also when the task panicked or its runtime ended.
    fn drop(&mut self) {
        for waiter in self.state.pending.drain() {
            waiter.fail(SendError::Ended);
        }
        self.state.mailbox.end();
        self.done.cancel();
    }
}

/// Does `work` while there is no session, keeping what the application wishes; `None` when it wishes to leave.
async fn while_offline<T>(state: &mut State, inlet: &mut Inlet, work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Some(done),
            command = inlet.next() => match command? {
                Command::Send { msg, waiter } => state.send(msg, waiter),
                Command::Ask { ask, waiter } => state.ask(ask, waiter),
                Command::Subscribe { channel, after, waiter } => {
                    state.channels.subscribe(&channel, after, waiter);
                }
                Command::Unsubscribe(channel) => _ = state.channels.unsubscribe(&channel),
                Command::Signal(_) | Command::Ack(_) | Command::Frame(_) | Command::DropConnection => {}
            },
        }
    }
}

/// A session that lived this long was no failure.
const SETTLED_AFTER: Duration = Duration::from_secs(2);
/// The longest wish of a server that is followed.
const RETRY_AFTER_CAP: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests;
