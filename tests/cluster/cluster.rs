//! Gateways and pipelines on the real servers, with a topic, a database and keys of their own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tidegate_certs::development;
use tidegate_client::{Config, Transport, Trust};
use tidegate_gateway::auth::Signer;
use tidegate_pipeline::presence::{Presence, redis};
use tidegate_proto::id::UserId;

use crate::process::{Process, Role};
use crate::services::{self, Database};

/// A running cluster. Dropped, its processes are killed and its data are gone.
pub(crate) struct Cluster {
    pub(crate) gateways: Vec<Process>,
    pub(crate) pipelines: Vec<Process>,
    /// As the processes see it.
    pub(crate) presence: Presence,
    /// Names this cluster's topics and keys.
    pub(crate) name: String,
    signer: Signer,
    certificate: [u8; 32],
    /// Where pushers are told to reach a gateway, by its number; by default where it listens.
    advertised: Vec<Option<String>>,
    folder: TempDir,
    pub(crate) database: Database,
}

impl Cluster {
    /// Starts `gateways` gateways and `pipelines` pipelines, and waits until all are ready.
    pub(crate) async fn start(gateways: usize, pipelines: usize) -> Self {
        Self::start_behind(vec![None; gateways], pipelines).await
    }

    /// The same, with gateways that pushers reach by the addresses given.
    pub(crate) async fn start_behind(advertised: Vec<Option<String>>, pipelines: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = development::make_new(folder.path(), SystemTime::now()).unwrap();
        let name = format!("tidegate-test-{:016x}", rand::random::<u64>());
        let settings = redis::Settings { url: services::redis(), prefix: format!("{name}:"), ca_file: None };
        let process = |role: Role, number: usize| {
            let name = format!("{}-{number}", role.name());
            Process::new(role, number, folder.path().join(name), own_host())
        };
        let mut cluster = Self {
            gateways: (1..=advertised.len()).map(|number| process(Role::Gateway, number)).collect(),
            pipelines: (1..=pipelines).map(|number| process(Role::Pipeline, number)).collect(),
            presence: Presence::Redis(redis::Presence::connect(settings).unwrap()),
            name,
            signer: Signer::open_or_make(folder.path()).unwrap(),
            certificate: *certificate.sha256().as_bytes(),
            advertised,
            folder,
            database: Database::make().await,
        };
        cluster.configure();
        for process in cluster.processes_mut() {
            process.launch();
        }
        for process in cluster.processes_mut() {
            process.ready().await;
        }
        cluster
    }

    /// All of them.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.gateways.iter().chain(&self.pipelines)
    }

    /// All of them.
    pub(crate) fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.gateways.iter_mut().chain(&mut self.pipelines)
    }

    /// A client of `user`'s device that prefers the gateway of the number `home`, and otherwise takes the next.
    pub(crate) fn client(&self, home: usize, transport: Transport, user: &str, device: &str) -> Config {
        let servers = (0..self.gateways.len()).map(|number| {
            let place = (home + number) % self.gateways.len();
            self.gateways[place].quic()
        });
        let mut servers = servers.collect::<Vec<_>>().into_iter();
        let config = Config::new(servers.next().expect("there is a gateway"));
        servers
            .fold(config, Config::server)
            .transports([transport])
            .trust(Trust::CertHash(self.certificate))
            .token(self.token(user))
            .device(device)
            .backoff(Duration::from_millis(50), Duration::from_millis(500))
            // Less than the limits that are measured, as browsers do it.
            .heartbeat(Duration::from_secs(2), Duration::from_secs(3))
            .raw_frames(true)
            .bind([127, 0, 0, 1].into())
    }

    /// A client of one gateway over ws, who needs little.
    pub(crate) fn light_client(&self, gateway: usize, user: &str) -> Config {
        Config::new(self.gateways[gateway].ws().to_string())
            .transports([Transport::WebSocket])
            .plain_websocket(true)
            .token(self.token(user))
            .device("light")
            .heartbeat(Duration::from_secs(60), Duration::from_secs(60))
    }

    /// An hour's token.
    pub(crate) fn token(&self, user: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let user = UserId::new(user).unwrap();
        self.signer.sign(&user, None, Duration::from_secs(3600), i64::try_from(now).unwrap()).unwrap()
    }

    fn configure(&self) {
        for (process, advertised) in self.gateways.iter().zip(&self.advertised) {
            let mut listen = self.listen(process);
            listen += &format!("quic = {:?}\nhttp = \"{}\"\n", process.quic(), process.ws());
            let gateway = format!(
                "[gateway]\nid = {:?}\nadvertise = {:?}\n",
                process.name,
                advertised.clone().unwrap_or_default()
            );
            let path = |path: PathBuf| path.to_str().unwrap().to_owned();
            let tls = format!(
                "[tls]\ncert_file = {:?}\nkey_file = {:?}\n",
                path(development::chain_path(self.folder.path())),
                path(development::key_path(self.folder.path()))
            );
            let auth = format!(
                "[auth]\nalgorithm = \"HS256\"\nsecret_file = {:?}\n",
                path(self.folder.path().join("dev-secret"))
            );
            let limits = "[limits]\nmessages_per_second = 1000000\nmessages_burst = 1000000\n\
                          max_connections_per_address = 0\n";
            process.configure(&format!("{listen}{gateway}{tls}{auth}{limits}{}", self.backends()));
        }
        for process in &self.pipelines {
            process.configure(&format!("{}{}", self.listen(process), self.backends()));
        }
    }

    fn listen(&self, process: &Process) -> String {
        format!(
            "data = {:?}\n[listen]\ngrpc = {:?}\nadmin = \"{}\"\n",
            process.data().to_str().unwrap(),
            process.grpc(),
            process.admin()
        )
    }

    fn backends(&self) -> String {
        format!(
            "[kafka]\nbrokers = [{:?}]\ntopic = \"{name}.messages\"\ndead_topic = \"{name}.dead\"\n\
             group = \"{name}.sequencer\"\npartitions = 8\n\
             [presence]\nurl = {:?}\nprefix = \"{name}:\"\n[store]\nurl = {:?}\n\
             [rpc]\ntoken = \"the-token-of-a-test\"\n\
             [log]\nlevel = \"info\"\n",
            services::kafka(),
            services::redis(),
            self.database.url(),
            name = self.name,
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.processes() {
                let log = process.log();
                let lines: Vec<_> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(40)..];
                eprintln!("the end of the log of {}:\n{}\n", process.name, last.join("\n"));
            }
        }
    }
}

/// A loopback address of one process alone.
fn own_host() -> String {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("127.85.{}.{count}", std::process::id() % 255)
}
