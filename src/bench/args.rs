//! The command line of `tidegate bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tidegate_certs::Fingerprint;

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Connections that do nothing: memory and CPU of the server for each
    Idle(Idle),
    /// Pairs of users: receipt and end-to-end latency, messages per second, server CPU per message
    Direct(Direct),
    /// One sender to many users, who get direct messages in turn
    Spread(Spread),
    /// One channel, one publisher, many subscribers: deliveries for each second of the server's CPU
    Fanout(Fanout),
    /// One sender to many users by signals, past log and store: what the gateway alone costs
    Signals(Signals),
    /// Many clients that come back at once, each to messages that came while it was away
    Resume(Resume),
}

/// Over what, and against which server.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// What the clients connect over
    #[arg(long, value_enum, default_value = "quic")]
    pub(crate) transport: Wire,
    /// A server that runs already, HOST:PORT of the transport; without it one is started for this run. With several, the
    /// gateways of one cluster, the clients are spread over them, a recipient never where its sender is
    #[arg(long, value_name = "HOST:PORT", requires = "data")]
    pub(crate) server: Vec<String>,
    /// A process whose CPU and memory count as the server's, with all that it has started; may be repeated, and those of
    /// one name are summed. Without it the one that runs from the data folder
    #[arg(long, value_name = "NAME=PID", requires = "server", value_parser = Part::parse)]
    pub(crate) process: Vec<Part>,
    /// The server's data folder, in a cluster that of any gateway: its secret, certificate and process id; without it a
    /// temporary one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// The SHA-256 of the server's certificate, if it is not the one in the data folder
    #[arg(long, value_name = "SHA256")]
    pub(crate) cert_hash: Option<Fingerprint>,
    /// A setting for the server that is started, over those of the bench; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The CPUs of the server that is started, by `taskset -c`; the bench itself runs where it was started
    #[arg(long, value_name = "CPUS", conflicts_with = "server")]
    pub(crate) server_cpus: Option<String>,
}

/// A process of the server, under the name that its figures go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, pid) =
            text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it is NAME=PID")?;
        let pid = pid.parse().map_err(|_| format!("{pid} is no process id"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

/// How fast, how large and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Load {
    /// Open loop: messages per second of all senders together, at constant intervals
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Closed loop instead: so many messages of each sender are always under way
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) outstanding: Option<u32>,
    /// The content of a message, 20 to 65,536 bytes
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(20..=65_536))]
    pub(crate) bytes: u32,
    /// How long is measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// How long the same load runs before, unmeasured
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    /// How long at the end is waited for what is missing; after that it is lost
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    /// How many
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) connections: u32,
    /// How long the CPU is measured; two heartbeats by default
    #[arg(long, default_value = "50s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Direct {
    /// How many; each has a sender and a recipient
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) pairs: u32,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Spread {
    /// How many recipients
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) users: u32,
    /// So many of them are slow: they read 1 KiB a second, over TCP with the smallest buffer, over QUIC by leaving the
    /// stream unread. The load runs twice: first they read like the others; then each gets 4 MiB to begin with and reads
    /// slowly. Latencies are those of the others; the first run's, and the memory that a slow client costs, stand in
    /// `slow` (with fewer than ten, caches of the store are counted to them). In the end they read on until they have
    /// everything
    #[arg(long, value_name = "USERS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) slow: u32,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
#[command(mut_arg("rate", |rate| rate.default_value("50")))]
#[command(mut_arg("outstanding", |most| most.help("Closed loop instead: so many messages are always on their way to the last subscriber")))]
pub(crate) struct Fanout {
    /// How many subscribers. They are no whole clients: they acknowledge nothing and read no more of a message than
    /// they check
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) subs: u32,
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Signals {
    /// How many recipients
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) users: u32,
    /// Signals per second, at constant intervals
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// The content of a signal, 20 to 1,000 bytes
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(20..=1_000))]
    pub(crate) bytes: u32,
    /// By datagrams, where the transport has them; otherwise on the control stream
    #[arg(long)]
    pub(crate) datagrams: bool,
    /// How long is measured
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// How long the same load runs before
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// How many come back
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) clients: u32,
    /// How many messages wait for each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) messages: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What the clients connect over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wire {
    /// WebSocket without TLS
    Ws,
    /// WebSocket over TLS
    Wss,
    /// Raw QUIC
    Quic,
    /// WebTransport
    Wt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_name_and_an_id() {
        assert_eq!(Part::parse("kafka=17"), Ok(Part { name: "kafka".to_owned(), pid: 17 }));
        for wrong in ["17", "=17", "kafka=", "kafka=-1", "kafka=x"] {
            assert!(Part::parse(wrong).is_err(), "{wrong}");
        }
    }
}
