//! The server with its services, asked over real connections, with SQLite, the embedded log and presence in memory
//! behind it.

mod broadcasting;
mod secure;
mod services;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tempfile::TempDir;
use tidegate_proto::id::UserId;
use tidegate_proto::v1::Msg;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::broadcast::follow::Polled;
use super::push::{Own, Sessions};
use super::security::Connection;
use super::server::ServeError;
use super::{Health, Security, Server, broadcast, chat, db, push};
use crate::body::Body;
use crate::log::{self, Log, Reader};
use crate::metrics::Metrics;
use crate::presence::{Presence, memory};
use crate::pusher::Pusher;
use crate::pusher::dial::Dialer;
use crate::sequencer::Sequencer;
use crate::store::{Store, sqlite};
use crate::submit::Submitter;
use crate::trace::Sampling;

/// A process with everything but a gateway, whose sessions are pretended.
struct World {
    _folder: TempDir,
    address: String,
    security: Security,
    store: Store,
    presence: Presence,
    sessions: Arc<Pretended>,
    metrics: Metrics,
    health: Health,
    sequencer: JoinHandle<()>,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
}

/// The sessions of a user each, and what they took.
#[derive(Debug, Default)]
struct Pretended {
    users: Vec<UserId>,
    taken: Mutex<Vec<Body>>,
}

impl Sessions for Pretended {
    fn pass(&self, user: &UserId, body: &Body) -> u32 {
        let sessions = self.users.iter().filter(|one| *one == user).count();
        self.taken.lock().extend((0..sessions).map(|_| body.clone()));
        sessions as u32
    }
}

impl World {
    async fn new() -> Self {
        Self::with(Security::default()).await
    }

    #[expect(clippy::disallowed_methods, reason = "the assembly of these tests")]
    async fn with(security: Security) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = sqlite::Config::new(folder.path().join("store.sqlite"));
        let store = Store::Sqlite(sqlite::Store::open(&config).await.unwrap());
        let presence = Presence::Memory(memory::Presence::default());
        let metrics = Metrics::default();
        let (log, reader) = log::embedded::open();
        let pusher = Pusher::new(presence.clone(), None, Dialer::default(), metrics.pusher.clone());
        let sequencer = Sequencer::new(store.clone(), pusher, metrics.clone());
        let sequencer = tokio::spawn(sequencer.run(Reader::Embedded(reader)));

        let users = ["bob", "bob", "carol"].map(user).to_vec();
        let sessions = Arc::new(Pretended { users, taken: Mutex::default() });
        let own = Own { gateway: "gateway-1".into(), sessions: sessions.clone() };
        let submitter = Submitter::new(Log::Embedded(log), metrics.clone(), Sampling::default());
        let stop = CancellationToken::new();
        let server = Server::new(security.clone(), metrics.rpc.clone())
            .with(chat::service(submitter.clone(), store.clone()))
            .with(broadcast::chat(submitter, store.clone()))
            .with(broadcast::notify(Arc::new(Polled::new(store.clone())), stop.clone()))
            .with(push::service(presence.clone(), security.clone(), Some(own)))
            .with(db::service(store.clone(), metrics.clone()));
        let health = server.health();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(server.serve(vec![listener], stop.clone()));
        let _folder = folder;
        Self {
            _folder,
            address,
            security,
            store,
            presence,
            sessions,
            metrics,
            health,
            sequencer,
            stop,
            served,
        }
    }

    fn connect(&self) -> Connection {
        self.security.connect(&self.address).unwrap()
    }
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn msg(from: &str, to: &str, local_id: &str) -> Msg {
    Msg {
        send_id: from.into(),
        receiver_id: to.into(),
        local_id: local_id.into(),
        content: format!("this is {local_id}").into(),
        ..Msg::default()
    }
}

/// Limits a test, so that a hang is a failure.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("within 30 s")
}
