//! Who may call and who is believed: the service token and TLS of gRPC, for the server and for whoever dials.
//!
//! One set for all processes: with a certificate every process serves TLS and dials TLS.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

/// A connection that carries the token; what the generated clients are made of.
pub type Connection = InterceptedService<Channel, Credentials>;

/// What is configured under `rpc`, the files read.
#[derive(Clone, Default)]
pub struct Settings {
    /// The token that callers show, 16 to 1,024 printable characters without a space.
    pub token: Option<String>,
    /// The own certificate chain and its key, PEM.
    pub identity: Option<Pem>,
    /// Whoever calls shows a certificate of these authorities, PEM.
    pub client_ca: Option<Vec<u8>>,
    /// Whose certificates are believed when dialing, PEM; without it, with a certificate of its own, the system's.
    pub ca: Option<Vec<u8>>,
}

/// A certificate chain and its key, PEM.
#[derive(Clone)]
pub struct Pem {
    /// `rpc.cert_file`.
    pub chain: Vec<u8>,
    /// `rpc.key_file`.
    pub key: Vec<u8>,
}

/// Why settings cannot be used. The sentence names the setting.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Too short, too long, or not what fits into a header.
    #[error("rpc.token must be 16 to 1,024 printable ASCII characters without a space")]
    Token,
    /// The certificate and the key do not make an identity.
    #[error("rpc.cert_file and rpc.key_file cannot be served")]
    Identity(#[source] tonic::transport::Error),
    /// The file of authorities has no certificate.
    #[error("{setting} has no certificate in PEM")]
    NoCertificate {
        /// The setting.
        setting: &'static str,
    },
    /// Callers cannot be asked for certificates without TLS.
    #[error(
        "rpc.client_ca_file needs rpc.cert_file and rpc.key_file: callers show certificates over TLS only"
    )]
    ClientsWithoutTls,
}

/// An address that cannot be dialed.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is no host:port to dial")]
pub struct BadAddress {
    address: String,
}

/// The token and TLS, checked. Cheap to clone; a renewal reaches all clones.
#[derive(Clone, Default)]
pub struct Security {
    token: Option<Token>,
    tls: Arc<watch::Sender<Tls>>,
    mutual: bool,
}

/// What the files say, which are renewed now and then.
#[derive(Debug, Clone, Default)]
pub(super) struct Tls {
    pub(super) server: Option<ServerTlsConfig>,
    client: Option<ClientTlsConfig>,
}

#[derive(Clone)]
struct Token {
    /// What is compared, so that neither length nor beginning tells anything.
    hash: [u8; 32],
    header: MetadataValue<Ascii>,
}

impl Security {
    /// Checks the settings. The process's crypto provider must be installed.
    pub fn new(settings: &Settings) -> Result<Self, Invalid> {
        let token = settings.token.as_deref().map(Token::new).transpose()?;
        let tls = Arc::new(watch::Sender::new(Tls::new(settings)?));
        Ok(Self { token, tls, mutual: settings.client_ca.is_some() })
    }

    /// Goes by these certificates and authorities from now on, for connections to come; the token stays.
    pub fn renew(&self, settings: &Settings) -> Result<(), Invalid> {
        let tls = Tls::new(settings)?;
        self.tls.send_replace(tls);
        Ok(())
    }

    /// What has to be configured before this may be served on `ip`; on loopback nothing has.
    pub fn missing_on(&self, ip: IpAddr) -> Option<&'static str> {
        let is_enough = ip.is_loopback() || self.token.is_some() || self.mutual;
        (!is_enough).then_some(
            "outside loopback gRPC needs rpc.token, or rpc.client_ca_file with rpc.cert_file and rpc.key_file",
        )
    }

    /// Whether callers show a token or a certificate.
    pub fn knows_callers(&self) -> bool {
        self.token.is_some() || self.mutual
    }

    /// Where `address`, a `host:port`, is reached: by TLS if there is any, dialed when something is asked, and dialed
    /// again when it broke. Needs a runtime to run in.
    pub fn connect(&self, address: &str) -> Result<Connection, BadAddress> {
        let channel = self.endpoint(address)?.connect_lazy();
        Ok(InterceptedService::new(channel, self.credentials()))
    }

    /// As [`Security::connect`], for whoever makes the channel himself; his calls need [`Security::credentials`].
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, BadAddress> {
        let bad = || BadAddress { address: address.to_owned() };
        let client = self.tls.borrow().client.clone();
        let scheme = if client.is_some() { "https" } else { "http" };
        let uri: Uri = format!("{scheme}://{address}").parse().map_err(|_| bad())?;
        let is_address = uri.port_u16().is_some_and(|port| port != 0) && uri.path() == "/";
        let host = uri.host().filter(|_| is_address && !address.contains('@')).ok_or_else(bad)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad());
        }
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        if let Some(tls) = client {
            endpoint = endpoint.tls_config(tls.domain_name(host)).map_err(|_| bad())?;
        }
        Ok(endpoint)
    }

    /// What adds the token to calls.
    pub fn credentials(&self) -> Credentials {
        Credentials(self.token.as_ref().map(|token| token.header.clone()))
    }

    /// Whether these headers show the token, if one is needed; in a time that does not tell how nearly.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = shown.and_then(|value| value.split_once(' '));
        shown.is_some_and(|(scheme, shown)| {
            scheme.eq_ignore_ascii_case("bearer") && is_equal(&token.hash, &hash(shown.trim()))
        })
    }

    /// What is served, now and after each renewal.
    pub(super) fn tls(&self) -> watch::Receiver<Tls> {
        self.tls.subscribe()
    }
}

impl Tls {
    fn new(settings: &Settings) -> Result<Self, Invalid> {
        let client_ca = authorities(settings.client_ca.as_deref(), "rpc.client_ca_file")?;
        let ca = authorities(settings.ca.as_deref(), "rpc.ca_file")?;
        let identity = settings.identity.as_ref().map(|pem| Identity::from_pem(&pem.chain, &pem.key));
        if client_ca.is_some() && identity.is_none() {
            return Err(Invalid::ClientsWithoutTls);
        }
        let server = identity.as_ref().map(|identity| server_tls(identity, client_ca));
        let client = (identity.is_some() || ca.is_some()).then(|| client_tls(identity, ca));
        if let Some(server) = &server {
            // It is otherwise looked at only when it is used.
            Server::builder().tls_config(server.clone()).map_err(Invalid::Identity)?;
        }
        Ok(Self { server, client })
    }
}

/// Adds the token to every call.
#[derive(Clone, Default)]
pub struct Credentials(Option<MetadataValue<Ascii>>);

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

impl Token {
    fn new(text: &str) -> Result<Self, Invalid> {
        let fits = TOKEN_BYTES.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let mut header: MetadataValue<Ascii> =
            format!("Bearer {text}").parse().ok().filter(|_| fits).ok_or(Invalid::Token)?;
        header.set_sensitive(true);
        Ok(Self { hash: hash(text), header })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, identity, client_ca, ca } = self;
        f.debug_struct("Settings")
            .field("token", &token.is_some())
            .field("identity", &identity.is_some())
            .field("client_ca", &client_ca.is_some())
            .field("ca", &ca.is_some())
            .finish()
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("token", &self.token.is_some())
            .field("tls", &self.tls.borrow().server.is_some())
            .field("mutual", &self.mutual)
            .finish()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credentials").field(&self.0.is_some()).finish()
    }
}

fn authorities(pem: Option<&[u8]>, setting: &'static str) -> Result<Option<Certificate>, Invalid> {
    let Some(pem) = pem else { return Ok(None) };
    let mut certificates = CertificateDer::pem_slice_iter(pem);
    if !matches!(certificates.next(), Some(Ok(_))) || certificates.any(|one| one.is_err()) {
        return Err(Invalid::NoCertificate { setting });
    }
    Ok(Some(Certificate::from_pem(pem)))
}

fn server_tls(identity: &Identity, client_ca: Option<Certificate>) -> ServerTlsConfig {
    let tls = ServerTlsConfig::new().identity(identity.clone()).timeout(HANDSHAKE_TIMEOUT);
    match client_ca {
        Some(ca) => tls.client_ca_root(ca),
        None => tls,
    }
}

fn client_tls(identity: Option<Identity>, ca: Option<Certificate>) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
    let tls = match ca {
        Some(ca) => tls.ca_certificate(ca),
        None => tls.with_native_roots(),
    };
    match identity {
        Some(identity) => tls.identity(identity),
        None => tls,
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn is_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

/// Too long to be guessed, short enough for a header.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=1_024;
/// Connecting, and apart from it TLS; then it is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A caller's TLS.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often either side asks the other for a sign of life. A silent peer is given up after both together: before its
/// lease, which lives 10 s, has run out.
pub(super) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(3);
/// How long it waits for it.
pub(super) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2's own 64 KiB would be half a batch of a link.
pub(super) const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Of all streams of a connection together.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

#[cfg(test)]
mod tests;
