//! How many messages a second one pusher hands to gateways over gRPC on loopback, and what that costs. The gateways only
//! decode, so it is the link that is measured: with one gateway called of five, with three, and with all five.
//!
//!     cargo run --release -p tidegate-pipeline --example link_bench -- [messages] [batch]
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, Stream};
use tidegate_pipeline::metrics::Metrics;
use tidegate_pipeline::presence::lease::{Lease, Role};
use tidegate_pipeline::presence::{Presence, Route, memory};
use tidegate_pipeline::pusher::Pusher;
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::plan::Placed;
use tidegate_pipeline::pusher::wire;
use tidegate_pipeline::record::Record;
use tidegate_pipeline::rpc::v1::msg_service_server::{MsgService, MsgServiceServer};
use tidegate_pipeline::rpc::v1::{
    Handed, Handover, Opened, SendMsgRequest, SendMsgToUserRequest, Taken, TakenBySessions, handed, handover,
};
use tidegate_pipeline::rpc::{self, Security, Server};
use tidegate_pipeline::store::Stored;
use tidegate_proto::id::{DeviceId, LocalId, UserId};
use tidegate_proto::v1::Msg;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// Decodes what it is handed, and counts.
#[derive(Default)]
struct Sink {
    pushes: Arc<AtomicU64>,
}

#[tonic::async_trait]
impl MsgService for Sink {
    type DeliverStream = Pin<Box<dyn Stream<Item = Result<Handed, Status>> + Send>>;

    async fn deliver(
        &self,
        from: Request<Streaming<Handover>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let state = (from.into_inner(), self.pushes.clone());
        let answers = stream::try_unfold(state, |(mut from, pushes)| async {
            let kind = match from.message().await?.and_then(|handover| handover.kind) {
                Some(handover::Kind::Open(_)) => handed::Kind::Opened(Opened {}),
                Some(handover::Kind::Batch(batch)) => {
                    let number = batch.number;
                    let batch =
                        wire::read(batch, 1).map_err(|error| Status::invalid_argument(error.to_string()))?;
                    pushes.fetch_add(batch.pushes.len() as u64, Ordering::Relaxed);
                    handed::Kind::Taken(Taken { number, ..Taken::default() })
                }
                _ => return Ok(None),
            };
            Ok(Some((Handed { kind: Some(kind) }, (from, pushes))))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn send_message(&self, _: Request<SendMsgRequest>) -> Result<Response<TakenBySessions>, Status> {
        Err(Status::unimplemented("links only"))
    }

    async fn send_msg_to_user(
        &self,
        _: Request<SendMsgToUserRequest>,
    ) -> Result<Response<TakenBySessions>, Status> {
        Err(Status::unimplemented("links only"))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let argument = |n: usize, or: usize| std::env::args().nth(n).map_or(or, |text| text.parse().unwrap());
    let (messages, batch) = (argument(1, 400_000), argument(2, 200));
    for called in [1, 3, 5] {
        measure(called, messages, batch).await;
    }
}

async fn measure(called: usize, messages: usize, batch: usize) {
    let presence = Presence::Memory(memory::Presence::default());
    let mut servers = JoinSet::new();
    let mut counts = Vec::new();
    let bob = UserId::new("bob").unwrap();
    for n in 0..5 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().into();
        let sink = Sink::default();
        counts.push(sink.pushes.clone());
        let server =
            Server::new(Security::default(), rpc::Metrics::default()).with(MsgServiceServer::new(sink));
        servers.spawn(server.serve(vec![listener], CancellationToken::new()));
        let gateway: Arc<str> = format!("gateway-{n}").into();
        let lease = Lease { incarnation: 1, ..Lease::new(Role::Gateway, gateway.clone(), address) };
        presence.begin_lease(&lease).await.unwrap();
        if n < called {
            let device = DeviceId::new(&n.to_string()).unwrap();
            let route =
                Route { gateway, incarnation: 1, session: 1, attempt: 1, platform: "".into(), since: 1 };
            presence.register(&bob, &device, &route, 16).await.unwrap();
        }
    }
    let metrics = Metrics::default();
    let pusher = Pusher::new(presence, None, Dialer::default(), metrics.pusher.clone());
    let (records, stored) = (records(&bob, batch), stored(&bob));
    let placed: Vec<_> = records.iter().map(|record| Placed { record, stored: &stored }).collect();
    let (began, cpu_before) = (Instant::now(), cpu());
    for round in 1..=messages / batch {
        pusher.push(&placed, &[]).await;
        // As far ahead as a link's queue allows.
        while ((round * batch) as u64).saturating_sub(counts[0].load(Ordering::Relaxed)) > 20_000 {
            tokio::task::yield_now().await;
        }
    }
    pusher.stop(Duration::from_secs(60)).await;
    let (took, spent) = (began.elapsed().as_secs_f64(), cpu() - cpu_before);
    let arrived: u64 = counts.iter().map(|count| count.load(Ordering::Relaxed)).sum();
    assert_eq!(arrived + metrics.pusher.link.full.get(), (called * messages) as u64);
    println!(
        "{called} of 5 gateways, batches of {batch}: {:.0} messages/s, {arrived} arrived, {:.2} us CPU a message (both ends)",
        messages as f64 / took,
        spent * 1e6 / messages as f64,
    );
}

fn records(to: &UserId, count: usize) -> Vec<Record> {
    let alice = UserId::new("alice").unwrap();
    let local_id = || LocalId::new("0193e1c8-7b1a-7000-8000-000000000000").unwrap();
    let msg = || Msg { receiver_id: to.as_str().into(), content: vec![1; 100].into(), ..Msg::default() };
    (0..count).map(|_| Record::new(msg(), &alice, 1, local_id, None).unwrap()).collect()
}

fn stored(to: &UserId) -> Stored {
    Stored { repeated: false, send_time: 1, conv_seq: 1, inboxes: [(to.clone(), 1)].into_iter().collect() }
}

/// Seconds of processor time of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    // utime and stime, in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
