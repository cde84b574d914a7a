//! How Redis is reached. The client's defaults wait for ever in five places: each has a limit here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::{Client, Pool, SubscriberClient};
use fred::prelude::{Builder, Config, Error};
use fred::types::config::{ReconnectPolicy, TlsConfig, UnresponsiveConfig};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};

/// Where Redis is, and how it is used.
#[derive(Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` (TLS), `redis-cluster://` or `redis-sentinel://`, with user, password and database.
    pub url: String,
    /// Before every key.
    pub prefix: String,
    /// Who signs the certificate of a server that is reached over TLS, PEM; `None`: whom the system believes.
    pub ca_file: Option<PathBuf>,
}

/// Why a client cannot be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is not one.
    #[error("the URL is not of the form redis://user:password@host:port/database")]
    Url(#[source] Error),
    /// There are no authorities to believe.
    #[error("{}: it must hold certificates, in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// They are not to be used.
    #[error("{}: it holds no certificate of an authority", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::Error,
    },
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Settings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Makes clients for the settings, with what they name read already.
pub(super) struct Clients(Builder);

impl Clients {
    /// Those for commands; they connect by themselves from then on.
    pub(super) fn pool(&self) -> Result<Pool, Error> {
        self.0.build_pool(CONNECTIONS)
    }

    /// One that connects once and says why it cannot.
    pub(super) fn once(&self) -> Result<Client, Error> {
        let mut config = self.0.get_config().cloned().unwrap_or_default();
        config.fail_fast = true;
        // Without a policy it does not try again.
        Builder::from_config(config)
            .with_connection_config(|connection| connection.connection_timeout = COMMAND_LIMIT)
            .build()
    }

    /// One that listens.
    pub(super) fn subscriber(&self) -> Result<SubscriberClient, Error> {
        self.0.build_subscriber_client()
    }
}

impl Settings {
    /// What makes the clients.
    pub(super) fn clients(&self) -> Result<Clients, SettingsError> {
        let mut config = Config::from_url(&self.url).map_err(SettingsError::Url)?;
        if config.tls.is_some()
            && let Some(roots) = self.roots()?
        {
            config.tls = Some(tls(roots));
        }
        // A server that is down at the start is like one that goes down later.
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder
            .set_policy(ReconnectPolicy::new_exponential(FOR_EVER, 50, 2_000, 2))
            .with_performance_config(|performance| {
                performance.default_command_timeout = COMMAND_LIMIT;
                performance.broadcast_channel_capacity = TOLD_AT_ONCE;
            })
            .with_connection_config(|connection| {
                connection.connection_timeout = COMMAND_LIMIT;
                connection.internal_command_timeout = COMMAND_LIMIT;
                connection.max_command_buffer_len = WAITING_COMMANDS;
                // A command that may have been done is not repeated behind our back.
                connection.max_command_attempts = 1;
                connection.unresponsive =
                    UnresponsiveConfig { max_timeout: Some(2 * COMMAND_LIMIT), interval: COMMAND_LIMIT / 2 };
            });
        Ok(Clients(builder))
    }

    /// Whom to believe, if that is said.
    fn roots(&self) -> Result<Option<RootCertStore>, SettingsError> {
        let Some(path) = &self.ca_file else { return Ok(None) };
        let pem = |source| SettingsError::Pem { path: path.clone(), source };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(pem)?.collect();
        let certificates = certificates.map_err(pem)?;
        if certificates.is_empty() {
            return Err(pem(pem::Error::NoItemsFound));
        }
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(certificate);
            added.map_err(|source| SettingsError::Authority { path: path.clone(), source })?;
        }
        Ok(Some(roots))
    }
}

fn tls(roots: RootCertStore) -> TlsConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
        .into()
}

const FOR_EVER: u32 = 0;
/// The client pipelines by itself; more connections only spread the work of the server's sockets.
const CONNECTIONS: usize = 2;
/// How long an answer is waited for. Presence is a hint: later is as good as never.
pub(super) const COMMAND_LIMIT: Duration = Duration::from_secs(2);
/// Commands that wait while there is no connection: a registration for each of as many sessions, some 5 MiB.
const WAITING_COMMANDS: usize = 10_000;
/// Words of the control channel that wait for us; beyond them the comparison once a minute heals.
const TOLD_AT_ONCE: usize = 1_024;
