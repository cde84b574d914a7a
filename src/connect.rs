//! What `tail` and `send` have in common: who connects, where to, by which token, and which certificate is believed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail, ensure};
use tidegate_certs::{Fingerprint, Identity, Source, development};
use tidegate_client::{BoxError, Client, Config as Session, ConnectError, Event, Events, Transport, Trust};
use tidegate_gateway::auth::Signer;
use tidegate_proto::id::UserId;
use tidegate_proto::v1::CloseCode;

use crate::cli::{Connect, Over};
use crate::config::Config;

/// How to connect as `command` says; what it leaves open comes from the configuration and the data folder.
pub(crate) fn session(command: &Connect) -> anyhow::Result<Session> {
    let config = Config::load(&command.settings.sources())?;
    let server = match &command.server {
        Some(server) => server.clone(),
        None => default_server(&config)?,
    };
    let trust = trust(command, &config, &server)?;
    let session = Session::new(server)
        .transports([transport(command.transport)])
        .trust(trust)
        .platform("cli")
        .agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
    match &command.token {
        Some(token) => Ok(session.token(token)),
        None => by_secret(session, &config, &command.user),
    }
}

/// Begins the session; an error says what to try.
pub(crate) async fn connect(command: &Connect, session: Session) -> anyhow::Result<(Client, Events)> {
    let (client, mut events) = Client::connect(session).await.map_err(|error| {
        let refused = matches!(error, ConnectError::Refused { code: CloseCode::Unauthenticated, .. });
        let error = anyhow::Error::new(error);
        let hint = if refused { token_hint(command) } else { hint(&error).to_owned() };
        error.context(format!("no session: {hint}"))
    })?;
    let first =
        tokio::time::timeout(FIRST_EVENT, events.recv()).await.context("the session began and ended")?;
    if let Some(Event::Connected(connected)) = first {
        let user = &connected.welcome.user_id;
        ensure!(
            user == command.user.as_str(),
            "the token is for {user}: use --as {user}, or another --token"
        );
    }
    Ok((client, events))
}

fn transport(over: Over) -> Transport {
    match over {
        Over::Quic => Transport::Quic,
        Over::Wt => Transport::WebTransport,
        Over::Ws => Transport::WebSocket,
    }
}

/// The first address that a server with this configuration listens on.
fn default_server(config: &Config) -> anyhow::Result<String> {
    let endpoint =
        config.listen.quic.iter().next().context("listen.quic is empty: give --server host:port")?;
    let server = endpoint.to_string();
    ensure!(!server.ends_with(":0"), "listen.quic lets the system pick a port: give --server host:port");
    Ok(server.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:"))
}

fn trust(command: &Connect, config: &Config, server: &str) -> anyhow::Result<Trust> {
    if let Some(path) = &command.ca {
        return Ok(Trust::ca_file(path)?);
    }
    if let Some(hash) = &command.cert_hash {
        return Ok(Trust::CertHash(*hash.as_bytes()));
    }
    if !is_this_machine(server) {
        return Ok(Trust::SystemRoots);
    }
    let (chain, key) = match config.tls.source(&config.data) {
        Source::Files { chain, key } => (chain, key),
        Source::Development { folder } => (development::chain_path(&folder), development::key_path(&folder)),
    };
    let identity = Identity::read(&chain, &key).with_context(|| {
        format!(
            "the server's certificate is not in {}: give its data folder by --data, or --cert-hash or --ca",
            config.data.display()
        )
    })?;
    Ok(Trust::CertHash(*identity.sha256().as_bytes()))
}

/// Whether `server` is certainly this machine, whose data folder says which certificate it has.
fn is_this_machine(server: &str) -> bool {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Tokens signed with the secret of the data folder, a new one at each connect.
fn by_secret(session: Session, config: &Config, user: &UserId) -> anyhow::Result<Session> {
    ensure!(config.is_development(), "[auth] is configured: give a token of that issuer by --token");
    let secret = config.data.join(SECRET_FILE);
    if !secret.exists() {
        bail!(
            "no {}: start `tidegate serve` first, give its data folder by --data, or a token by --token",
            secret.display()
        );
    }
    let signer = Signer::open_or_make(&config.data)?;
    let user = user.clone();
    // Now, so that a user who cannot have one is told before anything is tried.
    sign(&signer, &user).map_err(|error| anyhow!(error))?;
    Ok(session.token_from(move || std::future::ready(sign(&signer, &user))))
}

fn sign(signer: &Signer, user: &UserId) -> Result<String, BoxError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(signer.sign(user, None, TOKEN_TTL, i64::try_from(now.as_millis())?)?)
}

fn token_hint(command: &Connect) -> String {
    let data = if command.token.is_none() { " and whether --data is the server's data folder" } else { "" };
    format!("see whether the token is good{data}")
}

/// What to try. The transports tell only in words what was wrong below them.
fn hint(error: &anyhow::Error) -> &'static str {
    let causes = format!("{error:#}");
    let hints = [
        (
            "ApplicationVerificationFailure",
            "the server's certificate is not the one that is believed: compare `tidegate cert show` there, then give \
             that server's --data, --cert-hash or --ca",
        ),
        (
            "invalid peer certificate",
            "the certificate is not believed: give --cert-hash, or --ca with who signed it",
        ),
        ("InvalidContentType", "that port speaks no TLS: give --server as the server prints it for `quic`"),
        ("lookup address", "nobody knows the name in --server"),
        ("cannot open", "see whether the server runs, and whether --server and --transport are right"),
    ];
    let known = hints.into_iter().find(|(words, _)| causes.contains(words));
    known.map_or("the server's log may say more", |(_, hint)| hint)
}

/// A hash as people write it, for the command line.
pub(crate) fn cert_hash(text: &str) -> Result<Fingerprint, String> {
    text.parse()
        .map_err(|_| "write the SHA-256 of the certificate as `tidegate cert show` prints it".to_owned())
}

/// `host:port`, for the command line.
pub(crate) fn server(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("write host:port, for instance localhost:4433")?;
    if host.is_empty() || host.contains('/') || port.parse::<u16>().is_err() {
        return Err("write host:port, for instance localhost:4433".to_owned());
    }
    Ok(text.to_owned())
}

/// A time of the wire as people read it; one that is none as its number.
pub(crate) fn time(ms: i64) -> String {
    let since = u64::try_from(ms).ok().filter(|&ms| ms < LAST_TIME_MS).map(Duration::from_millis);
    since.map_or_else(
        || ms.to_string(),
        |since| humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string(),
    )
}

/// Where development mode keeps its secret.
const SECRET_FILE: &str = "dev-secret";
/// A session that lives longer gets a new one by reconnecting.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// The client says Connected with the session's begin; this only ends a hang.
const FIRST_EVENT: Duration = Duration::from_secs(10);
/// The end of the year 9999, as far as RFC 3339 goes.
const LAST_TIME_MS: u64 = 253_402_300_800_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_servers_are_this_machine() {
        for server in ["localhost:1", "127.0.0.1:4433", "127.9.9.9:1", "[::1]:4433"] {
            assert!(is_this_machine(server), "{server}");
        }
        for server in ["example.org:4433", "localhost.example.org:1", "10.0.0.1:4433", "[2001:db8::1]:1"] {
            assert!(!is_this_machine(server), "{server}");
        }
    }

    #[test]
    fn addresses_on_the_command_line() {
        assert!(server("example.org:4433").is_ok());
        assert!(server("[::1]:4433").is_ok());
        for bad in ["", "example.org", ":1", "https://example.org:1", "a:b", "a:65536"] {
            assert!(server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(-1), "-1");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }
}
