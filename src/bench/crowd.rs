//! Many clients in one process: who they are, and how they connect together.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tidegate_client::{
    Client, Config, ConnectError, Endpoint, Events, Raw, ReadRate, Start, Transport, Trust,
};
use tidegate_gateway::auth::Signer;
use tidegate_proto::id::UserId;

use super::args::Wire;
use super::server::Server;

/// What the clients of a run have in common. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    inner: Arc<Inner>,
    /// Whether signals may go and come as datagrams.
    datagrams: bool,
    /// How many of the users are senders: the first ones.
    senders: usize,
}

#[derive(Debug)]
struct Inner {
    addresses: Vec<String>,
    trust: Trust,
    wire: Wire,
    signer: Signer,
    /// Sets the users of this run apart from those of others.
    run: u32,
    endpoints: Vec<Endpoint>,
    /// The users from this number on read at this rate.
    slow: Option<(usize, ReadRate)>,
}

/// A client that is connected.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) events: Events,
}

impl Crowd {
    /// Users of `server`, with room for `size` of them at a time.
    pub(super) fn new(server: &Server, wire: Wire, size: usize) -> anyhow::Result<Self> {
        Self::with_slow(server, wire, size, None)
    }

    /// The same, with users who read at a rate of their own: those from a number on.
    pub(super) fn with_slow(
        server: &Server,
        wire: Wire,
        size: usize,
        slow: Option<(usize, ReadRate)>,
    ) -> anyhow::Result<Self> {
        let endpoints = (0..size.div_ceil(PER_ENDPOINT)).map(|_| Endpoint::new(None)).collect();
        let inner = Inner {
            addresses: server.addresses.clone(),
            trust: Trust::CertHash(*server.hash.as_bytes()),
            wire,
            signer: Signer::open_or_make(&server.data)?,
            run: rand::random(),
            endpoints,
            slow,
        };
        Ok(Self { inner: Arc::new(inner), datagrams: true, senders: 1 })
    }

    /// The same users, with or without datagrams.
    pub(super) fn datagrams(self, datagrams: bool) -> Self {
        Self { datagrams, ..self }
    }

    /// The same users, so many of whom are senders, each with one recipient; else there is one.
    pub(super) fn senders(self, senders: usize) -> Self {
        Self { senders, ..self }
    }

    /// The name of the user of this number.
    pub(super) fn user(&self, number: usize) -> String {
        format!("bench-{:08x}-{number}", self.inner.run)
    }

    /// The name of this run's channel.
    pub(super) fn channel(&self) -> String {
        format!("bench/{:08x}", self.inner.run)
    }

    /// How that user's client connects.
    pub(super) fn config(&self, number: usize) -> anyhow::Result<Config> {
        let name = self.user(number);
        let user = UserId::new(&name).map_err(|refusal| anyhow!("{name}: {refusal}"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let now_ms = i64::try_from(now.as_millis()).context("the clock is far off")?;
        let token = self.inner.signer.sign(&user, None, TOKEN_LIFE, now_ms)?;
        let transport = match self.inner.wire {
            Wire::Ws | Wire::Wss => Transport::WebSocket,
            Wire::Quic => Transport::Quic,
            Wire::Wt => Transport::WebTransport,
        };
        let config = Config::new(self.address(number))
            .transports([transport])
            .plain_websocket(self.inner.wire == Wire::Ws)
            .trust(self.inner.trust.clone())
            .token(token)
            .device(&name)
            .start(Start::Stored)
            .datagrams(self.datagrams)
            .endpoint(self.inner.endpoints[number % self.inner.endpoints.len()].clone());
        Ok(match &self.inner.slow {
            // A Pong stands behind all that waits.
            Some((first, rate)) if number >= *first => {
                config.read_rate(rate.clone()).heartbeat(Duration::MAX, Duration::MAX)
            }
            _ => config,
        })
    }

    /// Where that user connects to.
    fn address(&self, number: usize) -> &str {
        let addresses = &self.inner.addresses;
        &addresses[server_of(number, self.senders, addresses.len())]
    }

    /// Connects the first `count` users, a few at a time.
    pub(super) async fn connect(&self, count: usize) -> anyhow::Result<Vec<Member>> {
        self.gather(0..count, async |config| Ok(connect(&config, CONNECT_LIMIT).await?.0)).await
    }

    /// Bare sessions of the users of these numbers, made likewise.
    pub(super) async fn connect_raw(&self, numbers: Range<usize>) -> anyhow::Result<Vec<Raw>> {
        let open =
            async |config: Config| anyhow::Ok(persist(CONNECT_LIMIT, || Raw::open(config.clone())).await?.0);
        self.gather(numbers, open).await
    }

    async fn gather<M>(
        &self,
        numbers: Range<usize>,
        begin: impl AsyncFn(Config) -> anyhow::Result<M>,
    ) -> anyhow::Result<Vec<M>> {
        let begin = &begin;
        let joining = numbers.map(|number| async move { begin(self.config(number)?).await });
        stream::iter(joining).buffered(AT_A_TIME).try_collect().await
    }
}

/// Connects, again and again within `limit`; also says how often it failed.
pub(super) async fn connect(config: &Config, limit: Duration) -> anyhow::Result<(Member, u32)> {
    let ((client, events), failures) = persist(limit, || Box::pin(Client::connect(config.clone()))).await?;
    Ok((Member { client, events }, failures))
}

/// Tries again and again within `limit`; also says how often it failed.
async fn persist<M, F>(limit: Duration, attempt: impl Fn() -> F) -> anyhow::Result<(M, u32)>
where
    F: Future<Output = Result<M, ConnectError>>,
{
    let until = tokio::time::Instant::now() + limit;
    let mut failures = 0;
    loop {
        match attempt().await {
            Ok(member) => return Ok((member, failures)),
            Err(error) if is_passing(&error) && tokio::time::Instant::now() < until => {
                failures += 1;
                // As the client itself does between its attempts.
                tokio::time::sleep(Duration::from_millis(rand::random_range(1..=200))).await;
            }
            Err(error) => return Err(error).context("a client cannot connect"),
        }
    }
}

/// Which of the servers a user is at: with pairs, a recipient at the one after its sender's; with one sender, the
/// recipients in turn from the next one on.
fn server_of(number: usize, senders: usize, servers: usize) -> usize {
    (number % senders.max(1) + number / senders.max(1)) % servers.max(1)
}

fn is_passing(error: &ConnectError) -> bool {
    !error.is_final()
}

/// Handshakes under way while a crowd gathers: enough to keep the server busy, too few for anybody to time out.
const AT_A_TIME: usize = 32;
/// Connections on one UDP socket: neither its one driver task nor its buffer should be what is measured. A real client
/// has a socket of its own.
const PER_ENDPOINT: usize = 50;
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::server_of;

    #[test]
    fn pairs_are_spread_and_apart() {
        for servers in 2..=5 {
            let mut users = vec![0; servers];
            for pair in 0..60 {
                let (sender, recipient) = (server_of(pair, 60, servers), server_of(60 + pair, 60, servers));
                assert_ne!(sender, recipient, "pair {pair} of {servers}");
                users[sender] += 1;
                users[recipient] += 1;
            }
            assert!(users.iter().all(|count| *count == 120 / servers), "{users:?}");
        }
        assert_eq!(server_of(119, 60, 1), 0);
    }

    #[test]
    fn one_sender_has_its_recipients_everywhere() {
        let servers: Vec<_> = (0..7).map(|user| server_of(user, 1, 3)).collect();
        assert_eq!(servers, [0, 1, 2, 0, 1, 2, 0]);
    }
}
