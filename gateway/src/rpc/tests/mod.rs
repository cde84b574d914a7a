//! Links as they are used: a pusher, gateways with real servers on loopback, presence they share; and the same over the
//! link within a process.

mod contract;
mod faults;
mod following;
mod many;
mod nonsense;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tidegate_pipeline::channels::Rules;
use tidegate_pipeline::presence::lease::{Lease, Role};
use tidegate_pipeline::presence::{Presence, Route, memory};
use tidegate_pipeline::pusher::dial::Dialer;
use tidegate_pipeline::pusher::plan::{Placed, Rejected};
use tidegate_pipeline::pusher::{Pusher, link};
use tidegate_pipeline::record::{Origin, Record};
use tidegate_pipeline::rpc::{self, Security, Server};
use tidegate_pipeline::store::{Store, Stored, sqlite};
use tidegate_pipeline::volatile;
use tidegate_pipeline::{log, metrics as pipeline};
use tidegate_proto::Refusal;
use tidegate_proto::id::{DeviceId, LocalId, UserId};
use tidegate_proto::v1::{Code, Msg};
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::MsgService;
use crate::auth::Signer;
use crate::gateway::{Gateway, Parts, now_ms};
use crate::hub::Place;
use crate::hub::mailbox::{Mail, Mailbox};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// What all processes of a test share: one presence, one store.
struct World {
    folder: TempDir,
    presence: Presence,
    store: Store,
}

/// A gateway; its server dies with its runtime.
struct Node {
    gateway: Gateway,
    presence: Presence,
    lease: Lease,
    runtime: Option<Runtime>,
}

/// A session of a user, without a client.
struct Recipient {
    user: UserId,
    mailbox: Arc<Mailbox>,
    place: Option<Place>,
}

/// A pusher and what it counts.
struct Pipeline {
    pusher: Pusher,
    registry: Registry,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = sqlite::Config::new(folder.path().join("store.sqlite"));
        let store = Store::Sqlite(sqlite::Store::open(&config).await.unwrap());
        Self { folder, presence: Presence::Memory(memory::Presence::default()), store }
    }

    /// A gateway that nobody can reach yet.
    async fn gateway(&self, id: &str) -> Node {
        let (log, _) = log::embedded::open();
        let gateway = Gateway::new(Parts {
            id: id.into(),
            role: Role::Gateway,
            address: "".into(),
            public: "".into(),
            demo: "".into(),
            epoch: self.store.epoch().await.unwrap().into(),
            settings: Settings::default(),
            auth: Signer::open_or_make(self.folder.path()).unwrap().auth().unwrap(),
            log: log::Log::Embedded(log),
            passing: volatile::open(Rules::default(), Counter::default()).0,
            store: self.store.clone(),
            presence: self.presence.clone(),
            metrics: Metrics::new(&pipeline::Metrics::default()),
        });
        let incarnation = gateway.shared().incarnation();
        let lease = Lease { incarnation, ..Lease::new(Role::Gateway, id.into(), "".into()) };
        Node { gateway, presence: self.presence.clone(), lease, runtime: None }
    }

    /// A gateway with a lease and a server.
    async fn node(&self, id: &str) -> Node {
        let mut node = self.gateway(id).await;
        node.serve("127.0.0.1:0".parse().unwrap()).await;
        node.begin_lease().await;
        node
    }

    fn pipeline(&self) -> Pipeline {
        self.pipeline_with(&pipeline::Metrics::default(), None)
    }

    fn pipeline_with(&self, counted: &pipeline::Metrics, own: Option<(Arc<str>, link::Local)>) -> Pipeline {
        let mut registry = Registry::with_prefix("tidegate");
        counted.register(&mut registry);
        let pusher = Pusher::new(self.presence.clone(), own, Dialer::default(), counted.pusher.clone());
        Pipeline { pusher, registry }
    }
}

impl Node {
    async fn serve(&mut self, at: SocketAddr) {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (service, stop) = (MsgService::server(self.gateway.clone()), CancellationToken::new());
        let at = runtime.spawn(async move {
            let listener = TcpListener::bind(at).await.unwrap();
            let at = listener.local_addr().unwrap();
            (
                at,
                Server::new(Security::default(), rpc::Metrics::default())
                    .with(service)
                    .serve(vec![listener], stop),
            )
        });
        let (at, serve) = at.await.unwrap();
        runtime.spawn(serve);
        self.lease.address = at.to_string().into();
        self.runtime = Some(runtime);
    }

    async fn begin_lease(&self) {
        self.presence.begin_lease(&self.lease).await.unwrap();
    }

    /// Ends the server and its connections, as if the process had died.
    async fn kill(&mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(LIMIT)).await.unwrap();
    }

    /// A session of a user on this gateway.
    async fn recipient(&self, user: &str) -> Recipient {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let session = NEXT.fetch_add(1, Ordering::Relaxed);
        let user = UserId::new(user).unwrap();
        let mailbox = Mailbox::new(session, 1 << 30, Arc::default());
        let place = self.gateway.hub().join(user.clone(), mailbox.clone());
        let route = Route {
            gateway: self.lease.id.clone(),
            incarnation: self.lease.incarnation,
            session,
            attempt: session.cast_signed(),
            platform: "".into(),
            since: 1,
        };
        let device = DeviceId::new(&session.to_string()).unwrap();
        self.presence.register(&user, &device, &route, 16).await.unwrap();
        Recipient { user, mailbox, place: Some(place) }
    }

    fn origin(&self, of: &Recipient) -> Origin {
        let session = of.mailbox.session();
        Origin { gateway: self.lease.id.clone(), incarnation: self.lease.incarnation, session }
    }

    /// Waits until the gateway is told to check all heads.
    async fn told_to_check(&self) {
        let told = self.gateway.shared().heads.told(Instant::now());
        timeout(LIMIT, told).await.expect("the gateway is told to check the heads");
    }

    fn was_told_to_check(&self) -> bool {
        self.gateway.shared().heads.told(Instant::now()).now_or_never().is_some()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Recipient {
    /// Takes out what is there until `enough`.
    async fn until(&self, mut enough: impl FnMut(Mail) -> bool) {
        let all = async {
            while !enough(self.mailbox.take()) {
                self.mailbox.filled().await;
            }
        };
        timeout(LIMIT, all).await.expect("it comes");
    }

    /// Waits until it has got or heard of a seq, and gives what was pushed until then.
    async fn reaches(&self, seq: u64) -> Vec<u64> {
        let mut pushed = Vec::new();
        self.until(|mail| {
            pushed.extend(mail.pushes.iter().map(|pushed| pushed.seq));
            mail.mark >= seq || pushed.iter().any(|pushed| *pushed >= seq)
        })
        .await;
        pushed
    }
}

impl Pipeline {
    /// Pushes a message to a user, whose place in his inbox is `seq`.
    async fn push(&self, to: &UserId, seq: u64) {
        self.push_sized(to, seq, 10).await;
    }

    async fn push_sized(&self, to: &UserId, seq: u64, content: usize) {
        let record = record(to, seq, content, None);
        let stored = stored(&[(to, seq)], false);
        self.pusher.push(&[Placed { record: &record, stored: &stored }], &[]).await;
    }

    async fn reject(&self, record: &Record) {
        let refusal = Refusal::new(Code::Conflict, "another body");
        self.pusher.push(&[], &[Rejected { record, refusal: &refusal }]).await;
    }

    fn shown(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }

    /// A metric's value; 0 if it is not shown.
    fn metric(&self, name: &str) -> u64 {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        self.shown().lines().find_map(value).unwrap_or(0)
    }
}

fn record(to: &UserId, n: u64, content: usize, origin: Option<Origin>) -> Record {
    let content = vec![1; content].into();
    let msg = Msg { receiver_id: to.as_str().into(), content, ..Msg::default() };
    let sender = UserId::new("sender").unwrap();
    let local_id = || LocalId::new(&n.to_string()).unwrap();
    Record::new(msg, &sender, now_ms(), local_id, origin).unwrap()
}

fn stored(inboxes: &[(&UserId, u64)], repeated: bool) -> Stored {
    let inboxes = inboxes.iter().map(|(user, seq)| ((*user).clone(), *seq)).collect();
    Stored { repeated, send_time: 1, conv_seq: 1, inboxes }
}

/// Ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(30);
