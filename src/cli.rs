//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tidegate_proto::id::{DeviceId, UserId};

use crate::config::{FILE_VARIABLE, Sources};

/// A realtime messaging gateway: WebTransport, QUIC and WebSocket, durable messages, one process.
///
/// Without a subcommand it serves, with all data in ./tidegate-data and everything on loopback.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve clients: everything in one process (the default)
    #[command(after_help = SERVE_EXAMPLES)]
    Serve {
        #[command(flatten)]
        settings: Settings,
    },
    /// Print a development token for a user
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// Validate a configuration and print the effective one, secrets masked
    ///
    /// Looks at the settings, the certificate, the keys, the ports and the data folder. Ends with 0 if `serve` would
    /// start, otherwise with a line that says what is wrong and where.
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        settings: Settings,
    },
    /// The certificate in use, its hash and its end
    Cert {
        #[command(subcommand)]
        command: Cert,
    },
    /// The stored messages
    Store {
        #[command(subcommand)]
        command: Store,
    },
}

/// Where the configuration comes from: defaults, then the file, then TIDEGATE_… variables, then flags.
#[derive(Debug, Default, Args)]
pub(crate) struct Settings {
    /// The configuration file (TOML) [env: TIDEGATE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data folder [default: tidegate-data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Set any one setting: `listen.http=localhost:8081`; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Who the token is for
    #[arg(long, value_parser = |text: &str| UserId::new(text).map_err(|refusal| refusal.message))]
    pub(crate) user: UserId,
    /// The only device that it is good for
    #[arg(long, value_parser = |text: &str| DeviceId::new(text).map_err(|refusal| refusal.message))]
    pub(crate) device: Option<DeviceId>,
    /// How long it is good: 30s, 15m, 12h, 7d
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Print the certificate's files, hash, names and end
    Show {
        #[command(flatten)]
        settings: Settings,
    },
    /// Make a new development certificate in the place of the old one; a server that runs takes it by itself
    New {
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Draw a new epoch for the data and print it: mandatory after a restore from a back-up
    ///
    /// Clients remember how far they have read. What they read after the back-up was made is not in it, and the same
    /// numbers will be given to other messages; by the new epoch clients learn that theirs no longer count, and start
    /// from what is there. The server must not run meanwhile.
    #[command(after_help = NEW_EPOCH_EXAMPLES)]
    NewEpoch {
        #[command(flatten)]
        settings: Settings,
    },
}

impl Settings {
    /// The flags with the environment of this process.
    pub(crate) fn sources(&self) -> Sources {
        let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        let file = || variables.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| path.into());
        let data = self.data.iter().map(|path| ("--data".to_owned(), "data".to_owned(), toml_text(path)));
        let set = self.set.iter().map(|(key, text)| (format!("--set {key}"), key.clone(), text.clone()));
        let flags = data.chain(set).collect();
        Sources { file: self.config.clone().or_else(file), flags, variables }
    }
}

/// A path as a TOML string, so that it is never read as anything else.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, for instance log.level=debug")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

const EXAMPLES: &str = "\
Examples:
  tidegate                              serve on loopback, in development mode
  tidegate --config tidegate.toml       serve as configured
  tidegate token --user alice           a development token
  tidegate check --config tidegate.toml what is wrong with a configuration
  tidegate cert show                    the hash that clients may trust";

const SERVE_EXAMPLES: &str = "\
Examples:
  tidegate serve --data /var/lib/tidegate
  tidegate serve --config /etc/tidegate/tidegate.toml
  tidegate serve --set listen.quic=localhost:0 --set log.level=debug
  TIDEGATE_LISTEN__HTTP=localhost:8081 tidegate serve

Every setting section.key has a variable TIDEGATE_SECTION__KEY; TIDEGATE_LOG is short for log.level.";

const TOKEN_EXAMPLES: &str = "\
Examples:
  tidegate token --user alice
  tidegate token --user alice --device phone --ttl 15m
  tidegate token --user alice --data /var/lib/tidegate

It is signed with the secret in the data folder, which is drawn at the first use. A server that has [auth]
configured takes tokens of that issuer only, and this command says so.";

const NEW_EPOCH_EXAMPLES: &str = "\
Examples:
  tidegate store new-epoch --data /var/lib/tidegate";

const CHECK_EXAMPLES: &str = "\
Examples:
  tidegate check --config tidegate.toml
  tidegate check --set listen.quic=0.0.0.0:4433";
