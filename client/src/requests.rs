//! Requests other than sends that wait for their answer: Pull, Ping, Refresh. They are asked again on a new session.
//! No IO, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_proto::Refusal;
use tidegate_proto::framing::put_frame;
use tidegate_proto::v1::{ClientFrame, Page, Ping, Pull, Refresh, client_frame};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A page of a timeline.
    Pull(Pull),
    /// A sign of life.
    Ping,
    /// A new token for the session. The Ping that follows it tells when it was taken: only a refusal is answered.
    Refresh(String),
}

/// What it got.
#[derive(Debug)]
pub(crate) enum Answer {
    Page(Page),
    /// After this round trip.
    Pong(Duration),
}

/// The open requests, by number.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u32,
    open: BTreeMap<u32, Open>,
}

#[derive(Debug)]
struct Open {
    frames: Bytes,
    asked: Option<Instant>,
    waiter: oneshot::Sender<Result<Answer, Refusal>>,
}

impl Requests {
    /// A number for a request that nobody else has.
    pub(crate) fn number(&mut self) -> u32 {
        self.last = if self.last == u32::MAX { 1 } else { self.last + 1 };
        self.last
    }

    /// Adds a request.
    pub(crate) fn ask(&mut self, ask: Ask, waiter: oneshot::Sender<Result<Answer, Refusal>>) {
        self.open.retain(|_, open| !open.waiter.is_closed());
        let id = self.number();
        let mut frames = BytesMut::new();
        for kind in kinds(ask) {
            put_frame(&mut frames, &ClientFrame { id, kind: Some(kind) });
        }
        self.open.insert(id, Open { frames: frames.freeze(), asked: None, waiter });
    }

    /// The frames of the next request that is not asked yet on this session.
    pub(crate) fn peek(&self) -> Option<&Bytes> {
        self.open.values().find(|open| open.asked.is_none()).map(|open| &open.frames)
    }

    /// The frames of [`peek`](Self::peek) have gone out.
    pub(crate) fn asked(&mut self, now: Instant) {
        if let Some(open) = self.open.values_mut().find(|open| open.asked.is_none()) {
            open.asked = Some(now);
        }
    }

    /// A Page has come.
    pub(crate) fn page(&mut self, id: u32, page: Page) {
        self.answer(id, Ok(Answer::Page(page)));
    }

    /// A Pong has come; it is nobody's when the heartbeat asked for it.
    pub(crate) fn pong(&mut self, id: u32, now: Instant) {
        if let Some(asked) = self.open.get(&id).and_then(|open| open.asked) {
            self.answer(id, Ok(Answer::Pong(now - asked)));
        }
    }

    /// A refusal has come. False when no such request is open.
    pub(crate) fn refused(&mut self, id: u32, refusal: Refusal) -> bool {
        self.answer(id, Err(refusal))
    }

    /// A new session begins: everything is asked again.
    pub(crate) fn start_session(&mut self) {
        self.open.retain(|_, open| !open.waiter.is_closed());
        for open in self.open.values_mut() {
            open.asked = None;
        }
    }

    fn answer(&mut self, id: u32, answer: Result<Answer, Refusal>) -> bool {
        let Some(open) = self.open.remove(&id) else { return false };
        let _ = open.waiter.send(answer);
        true
    }
}

fn kinds(ask: Ask) -> Vec<client_frame::Kind> {
    match ask {
        Ask::Pull(pull) => vec![client_frame::Kind::Pull(pull)],
        Ask::Ping => vec![client_frame::Kind::Ping(Ping {})],
        Ask::Refresh(token) => {
            vec![client_frame::Kind::Refresh(Refresh { token }), client_frame::Kind::Ping(Ping {})]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use tidegate_proto::framing::split_frame;

    fn frames(mut bytes: BytesMut) -> Vec<ClientFrame> {
        let mut frames = Vec::new();
        while let Some(frame) = split_frame(&mut bytes, 1_000).unwrap() {
            frames.push(ClientFrame::decode(frame).unwrap());
        }
        frames
    }

    #[test]
    fn asked_once_per_session_and_answered_once() {
        let mut requests = Requests::default();
        let (waiter, mut answer) = oneshot::channel();
        requests.ask(Ask::Pull(Pull::default()), waiter);
        let now = Instant::now();
        assert!(requests.peek().is_some());
        requests.asked(now);
        assert!(requests.peek().is_none());
        requests.start_session();
        assert!(requests.peek().is_some());
        requests.asked(now);
        requests.page(7, Page::default());
        assert!(answer.try_recv().is_err());
        requests.page(1, Page { head: 3, ..Page::default() });
        assert!(matches!(answer.try_recv(), Ok(Ok(Answer::Page(page))) if page.head == 3));
        assert!(!requests.refused(1, Refusal::invalid("late")));
    }

    #[test]
    fn a_refresh_is_taken_when_the_ping_behind_it_is_answered() {
        let mut requests = Requests::default();
        let (waiter, mut answer) = oneshot::channel();
        requests.ask(Ask::Refresh("t".into()), waiter);
        let sent = frames(BytesMut::from(&requests.peek().unwrap()[..]));
        assert!(matches!(sent[0].kind, Some(client_frame::Kind::Refresh(_))));
        assert!(matches!(sent[1].kind, Some(client_frame::Kind::Ping(_))));
        assert_eq!((sent[0].id, sent[1].id), (1, 1));
        requests.asked(Instant::now());
        assert!(requests.refused(1, Refusal::invalid("expired")));
        requests.pong(1, Instant::now());
        assert!(matches!(answer.try_recv(), Ok(Err(_))));
    }

    #[test]
    fn who_gave_up_is_not_asked_for() {
        let mut requests = Requests::default();
        let (waiter, answer) = oneshot::channel();
        requests.ask(Ask::Ping, waiter);
        drop(answer);
        requests.start_session();
        assert!(requests.peek().is_none());
    }

    #[test]
    fn numbers_skip_zero() {
        let mut requests = Requests { last: u32::MAX, ..Requests::default() };
        assert_eq!(requests.number(), 1);
    }
}
