//! How Redis is reached. The client's defaults wait for ever in five places: each has a limit here.

use std::time::Duration;

use fred::clients::{Client, Pool, SubscriberClient};
use fred::prelude::{Builder, Config, Error};
use fred::types::config::{ReconnectPolicy, UnresponsiveConfig};

/// Where Redis is, and how it is used.
#[derive(Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` (TLS), `redis-cluster://` or `redis-sentinel://`, with user, password and database.
    pub url: String,
    /// Before every key.
    pub prefix: String,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may hold a password.
        f.debug_struct("Settings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Settings {
    /// The clients for commands; they connect by themselves from then on.
    pub(super) fn pool(&self) -> Result<Pool, Error> {
        self.builder()?.build_pool(CONNECTIONS)
    }

    /// A client that connects once and says why it cannot.
    pub(super) fn once(&self) -> Result<Client, Error> {
        let mut builder = self.builder()?;
        builder.with_config(|config| config.fail_fast = true);
        // None: without a policy it does not try again.
        Builder::from_config(builder.get_config().cloned().unwrap_or_default())
            .with_connection_config(|connection| connection.connection_timeout = COMMAND_LIMIT)
            .build()
    }

    /// The client that listens.
    pub(super) fn subscriber(&self) -> Result<SubscriberClient, Error> {
        self.builder()?.build_subscriber_client()
    }

    fn builder(&self) -> Result<Builder, Error> {
        let mut config = Config::from_url(&self.url)?;
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
        Ok(builder)
    }
}

const FOR_EVER: u32 = 0;
/// The client pipelines by itself; more connections only spread the work of the server's sockets.
const CONNECTIONS: usize = 2;
/// How long an answer is waited for. Presence is a hint: later is as good as never.
const COMMAND_LIMIT: Duration = Duration::from_secs(2);
/// Commands that wait while there is no connection: a registration for each of as many sessions, some 5 MiB.
const WAITING_COMMANDS: usize = 10_000;
/// Words of the control channel that wait for us; beyond them the comparison once a minute heals.
const TOLD_AT_ONCE: usize = 1_024;
