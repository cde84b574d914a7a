//! The command line.

mod examples;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate_certs::Fingerprint;
use tidegate_pipeline::log::kafka::dead::Id;
use tidegate_proto::id::{ChannelName, DeviceId, UserId};
use tidegate_proto::pattern::Pattern;

use crate::bench::args::Bench;
use crate::config::{FILE_VARIABLE, Role, Sources};
use crate::connect;
use examples::{
    BENCH_EXAMPLES, CHECK_EXAMPLES, DEAD_EXAMPLES, EXAMPLES, GATEWAY_EXAMPLES, NEW_EPOCH_EXAMPLES,
    PIPELINE_EXAMPLES, PUB_EXAMPLES, SEND_EXAMPLES, SERVE_EXAMPLES, SUB_EXAMPLES, TAIL_EXAMPLES,
    TOKEN_EXAMPLES,
};

/// A realtime messaging gateway: WebTransport, QUIC and WebSocket, durable messages; in one process, or in several.
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
    /// Serve clients as one of several processes: the edge, which hands messages to Kafka
    ///
    /// Needs kafka.brokers, store.url and presence.url, which all gateways and pipelines of an installation share.
    #[command(after_help = GATEWAY_EXAMPLES)]
    Gateway {
        #[command(flatten)]
        settings: Settings,
    },
    /// Work as one of several processes behind the gateways: take messages off Kafka, store and push them
    ///
    /// Needs kafka.brokers, store.url and presence.url. It has no listener for clients and no data folder; of the
    /// listeners it has listen.admin and listen.grpc.
    #[command(after_help = PIPELINE_EXAMPLES)]
    Pipeline {
        #[command(flatten)]
        settings: Settings,
    },
    /// Print a development token for a user
    #[command(after_help = TOKEN_EXAMPLES)]
    Token(Token),
    /// Print everything a user gets, live, from where this device left off
    ///
    /// The server keeps the place: what was printed does not come again at the next start. The device is `cli-tail`
    /// unless --device names another one; a second tail of the same user and device replaces the first.
    #[command(after_help = TAIL_EXAMPLES)]
    Tail(Tail),
    /// Send a message, or each line of standard input, and print the receipts
    ///
    /// ACCEPTED: the message is durable. STORED: it has its places in the sender's inbox (seq) and in the conversation
    /// (conv_seq). REJECTED: it was refused for good, and the command ends with 1.
    #[command(after_help = SEND_EXAMPLES)]
    Send(Send),
    /// Print everything of a channel, live
    #[command(after_help = SUB_EXAMPLES)]
    Sub(Sub),
    /// Send a message to a channel, or each line of standard input, and print the receipts
    #[command(after_help = PUB_EXAMPLES)]
    Pub(Pub),
    /// Validate a configuration and print the effective one, secrets masked
    ///
    /// Looks at the settings, the certificate, the keys, the ports and the data folder, and reaches Kafka, Redis and the
    /// database. Ends with 0 if the role would start, otherwise with a line that says what is wrong and where.
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// The certificate in use, its hash and its end
    Cert {
        #[command(subcommand)]
        command: Cert,
    },
    /// Measure a server: latency, throughput, CPU and memory for each message and connection
    ///
    /// Starts a server of its own on free ports of loopback, with a temporary data folder and raised limits. One JSON
    /// line on standard output, a summary on standard error; ends with 1 if anything was lost, doubled or reordered.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench {
        #[command(subcommand)]
        command: Bench,
    },
    /// The stored messages
    Store {
        #[command(subcommand)]
        command: Store,
    },
    /// The dead letters: records on Kafka that could not be decoded or stored
    #[command(after_help = DEAD_EXAMPLES)]
    Dead {
        #[command(subcommand)]
        command: Dead,
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
pub(crate) struct Check {
    /// What is to be started with it
    #[arg(long, value_enum, default_value_t = Role::Serve)]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Who the token is for
    #[arg(long, value_parser = user)]
    pub(crate) user: UserId,
    /// The only device that it is good for
    #[arg(long, value_parser = device)]
    pub(crate) device: Option<DeviceId>,
    /// Channels that it grants to subscribe to where a rule asks for it, by a pattern; several by repeating it
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subscribe: Vec<Pattern>,
    /// Channels that it grants to publish to, likewise
    #[arg(long, value_name = "PATTERN")]
    pub(crate) publish: Vec<Pattern>,
    /// How long it is good: 30s, 15m, 12h, 7d
    #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
    pub(crate) ttl: Duration,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// One JSON object a line, with the fields of the protocol
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// Who gets it
    #[arg(long, value_name = "USER", value_parser = user)]
    pub(crate) to: UserId,
    #[command(flatten)]
    pub(crate) words: Words,
}

#[derive(Debug, Args)]
pub(crate) struct Sub {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// The channel
    #[arg(value_parser = channel)]
    pub(crate) channel: ChannelName,
    /// First what came after this seq
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(i64).range(0..), conflicts_with = "from")]
    pub(crate) after: Option<i64>,
    /// Where to begin: at the first message that is still there, or with what comes from now on
    #[arg(long, value_enum, default_value_t = From::Head)]
    pub(crate) from: From,
    /// One JSON object a line, with the fields of the protocol
    #[arg(long)]
    pub(crate) json: bool,
}

/// The ends of a channel.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum From {
    /// All that is still there
    Floor,
    /// What comes from now on
    Head,
}

#[derive(Debug, Args)]
pub(crate) struct Pub {
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// The channel
    #[arg(value_parser = channel)]
    pub(crate) channel: ChannelName,
    #[command(flatten)]
    pub(crate) words: Words,
}

/// What is sent.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// What the sender calls the message: the same again is the same message [default: drawn]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, requires = "text")]
    pub(crate) local_id: String,
    /// The text; without one each line of standard input is a message
    pub(crate) text: Option<String>,
}

/// How a client of the command line connects.
#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Who connects
    #[arg(long = "as", value_name = "USER", value_parser = user)]
    pub(crate) user: UserId,
    /// What the connection runs over
    #[arg(long, value_enum, default_value_t = Over::Quic)]
    pub(crate) transport: Over,
    /// The server's address for clients [default: that of the configuration, localhost:4433]
    #[arg(long, value_name = "HOST:PORT", value_parser = connect::server)]
    pub(crate) server: Option<String>,
    /// The user's token [default: signed with the secret in the data folder of a server on this machine]
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Believe what this certificate authority has signed (PEM) [default: the system's roots; for a server on this
    /// machine the certificate in the data folder]
    #[arg(long, value_name = "FILE", conflicts_with = "cert_hash")]
    pub(crate) ca: Option<PathBuf>,
    /// Believe the certificate with this SHA-256 alone, in hex or base64
    #[arg(long, value_name = "HASH", value_parser = connect::cert_hash)]
    pub(crate) cert_hash: Option<Fingerprint>,
    /// The device to be [default: cli-tail for tail, a new one each time for the others]
    #[arg(long, value_name = "ID", value_parser = device)]
    pub(crate) device: Option<DeviceId>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// The transports by their short names.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Over {
    /// Raw QUIC
    Quic,
    /// WebTransport
    Wt,
    /// WebSocket with TLS
    Ws,
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
    /// from what is there. No process of it may run meanwhile.
    #[command(after_help = NEW_EPOCH_EXAMPLES)]
    NewEpoch {
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dead {
    /// A line for each, the oldest of each partition first
    List {
        /// Those after this one
        #[arg(long, value_name = "ID")]
        after: Option<Id>,
        /// At most so many
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        limit: u32,
        #[command(flatten)]
        settings: Settings,
    },
    /// All about one, but for the message's content
    Show {
        /// As `list` names it: 0-17
        id: Id,
        #[command(flatten)]
        settings: Settings,
    },
    /// Send their records again, as they were
    ///
    /// Harmless if one was stored in the meantime: it is recognized. The letter stays where it is.
    Retry {
        /// As `list` names them: 0-17
        #[arg(required = true)]
        ids: Vec<Id>,
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

fn user(text: &str) -> Result<UserId, String> {
    UserId::new(text).map_err(|refusal| refusal.message)
}

fn device(text: &str) -> Result<DeviceId, String> {
    DeviceId::new(text).map_err(|refusal| refusal.message)
}

fn channel(text: &str) -> Result<ChannelName, String> {
    ChannelName::new(text).map_err(|refusal| refusal.message)
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, for instance log.level=debug")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}
