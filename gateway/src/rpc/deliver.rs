//! The gateway's end of a link from another process: `MsgService.Deliver`. What is handed over goes the way that the
//! link within the process goes; all heads are checked when a link opens, and when one ends without Close.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use tidegate_pipeline::pusher::wire;
use tidegate_pipeline::rpc::v1::{Batch, Handed, Handover, Open, Opened, Taken, handed, handover};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info};

use crate::gateway::{Gateway, Shared, link};

/// The gateway's answers on a link.
pub type Answers = Pin<Box<dyn Stream<Item = Result<Handed, Status>> + Send>>;

/// Takes a link: checks whom the pusher means, then works off what it hands over for as long as the link lives.
///
/// Errors: FAILED_PRECONDITION for another gateway or incarnation, INVALID_ARGUMENT for what no pusher says,
/// RESOURCE_EXHAUSTED beyond `MAX_LINKS`, UNAVAILABLE when the gateway has ended its lease.
pub async fn deliver(
    gateway: &Gateway,
    request: Request<Streaming<Handover>>,
) -> Result<Response<Answers>, Status> {
    let gateway = gateway.shared().clone();
    let place = gateway.links.clone().try_acquire_owned();
    let place = place.map_err(|_| Status::resource_exhausted("the gateway has as many links as it takes"))?;
    let mut from = request.into_inner();
    let first = timeout(OPEN_LIMIT, from.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("Open did not come in time"))??;
    let Some(handover::Kind::Open(open)) = first.and_then(|handover| handover.kind) else {
        return Err(Status::invalid_argument("the first message must be Open"));
    };
    check(&open, &gateway)?;
    info!(incarnation = open.incarnation, "a pusher has opened a link");
    let link = Link { gateway, from, incarnation: open.incarnation, taken: 0, closed: false, _place: place };
    // Whoever handed over before may have died with what it held.
    link.gateway.heads.check_all();
    let opened = Handed { kind: Some(handed::Kind::Opened(Opened {})) };
    let answers = stream::unfold((Some(opened), Some(link)), |(opened, link)| async {
        let mut link = link?;
        if let Some(opened) = opened {
            return Some((Ok(opened), (None, Some(link))));
        }
        match link.next().await {
            Ok(taken) => Some((Ok(taken?), (None, Some(link)))),
            Err(status) => {
                debug!(%status, "a link is ended");
                Some((Err(status), (None, None)))
            }
        }
    });
    Ok(Response::new(Box::pin(answers)))
}

/// An open link. It is read as fast as the pusher takes the answers.
struct Link {
    gateway: Arc<Shared>,
    from: Streaming<Handover>,
    incarnation: u64,
    /// The number of the last batch.
    taken: u64,
    closed: bool,
    _place: OwnedSemaphorePermit,
}

impl Link {
    /// The answer to the next batch; `None` at the end.
    async fn next(&mut self) -> Result<Option<Handed>, Status> {
        let ended = ended(&self.gateway, self.incarnation);
        let handover = tokio::select! {
            biased;
            ended = ended => {
                self.closed = ended.is_ok();
                return ended.map(|()| None);
            }
            handover = self.from.message() => handover?,
        };
        match handover.map(|handover| handover.kind) {
            None => Ok(None),
            Some(Some(handover::Kind::Batch(batch))) => self.take(batch).map(Some),
            Some(Some(handover::Kind::Close(_))) => {
                self.closed = true;
                Ok(None)
            }
            Some(_) => Err(Status::invalid_argument("Open comes first, and once")),
        }
    }

    fn take(&mut self, batch: Batch) -> Result<Handed, Status> {
        if batch.number != self.taken + 1 {
            return Err(Status::invalid_argument("the numbers of batches rise by one"));
        }
        let (number, check_all) = (batch.number, batch.check_all);
        let batch = wire::read(batch, self.incarnation)
            .map_err(|malformed| Status::invalid_argument(malformed.to_string()))?;
        if check_all {
            self.gateway.heads.check_all();
        }
        let not_here = link::deliver(batch, &self.gateway, self.incarnation);
        let users = not_here.users.iter().map(|user| user.as_str().to_owned()).collect();
        let channels = not_here.channels.iter().map(|channel| channel.as_str().to_owned()).collect();
        self.taken = number;
        Ok(Handed {
            kind: Some(handed::Kind::Taken(Taken { number, not_here: users, not_subscribed: channels })),
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !self.closed {
            self.gateway.heads.check_all();
        }
    }
}

fn check(open: &Open, gateway: &Shared) -> Result<(), Status> {
    if open.gateway != *gateway.parts.id {
        return Err(Status::failed_precondition("this is another gateway"));
    }
    if open.incarnation != gateway.incarnation() {
        return Err(Status::failed_precondition("the gateway has another incarnation"));
    }
    if gateway.gone.is_cancelled() {
        return Err(Status::unavailable("the gateway has stopped"));
    }
    Ok(())
}

/// Waits until a link to this incarnation is of no use any more: in order when the gateway has stopped, since nobody is
/// left who could lack something.
async fn ended(gateway: &Shared, incarnation: u64) -> Result<(), Status> {
    tokio::select! {
        () = gateway.left(incarnation) => {
            Err(Status::failed_precondition("the gateway has another incarnation"))
        }
        () = gateway.gone.cancelled() => Ok(()),
    }
}

/// How long Open may take.
const OPEN_LIMIT: Duration = Duration::from_secs(4);
/// Links at once: a pipeline each, and those that reconnect while their old link has not ended yet.
pub(crate) const MAX_LINKS: usize = 256;
