//! What a process is, and what must or may not go together for it.

use anyhow::anyhow;
use clap::ValueEnum;
use tidegate_pipeline::presence::lease;

use super::section::Invalid;
use super::{Config, gateway, kafka, listen, presence, store};

/// Which parts a process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Gateway and pipeline
    Serve,
    /// The edge: it holds the clients' sessions and hands what they send to Kafka
    Gateway,
    /// What is behind: it takes messages off Kafka, stores them and pushes them to the gateways
    Pipeline,
}

impl Role {
    /// Whether clients come in here.
    pub(crate) fn has_gateway(self) -> bool {
        self != Self::Pipeline
    }

    /// Whether messages are put in order and stored here.
    pub(crate) fn has_pipeline(self) -> bool {
        self != Self::Gateway
    }

    /// As other processes see it.
    pub(crate) fn of_lease(self) -> lease::Role {
        match self {
            Self::Serve => lease::Role::Serve,
            Self::Gateway => lease::Role::Gateway,
            Self::Pipeline => lease::Role::Pipeline,
        }
    }

    /// The subcommand.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Gateway => "gateway",
            Self::Pipeline => "pipeline",
        }
    }

    /// Whether a process of this role can run with the configuration: what must or may not go together.
    pub(super) fn validate(self, config: &Config) -> Result<(), Invalid> {
        config.listen.validate_for(self)?;
        verified(config, self)?;
        backends(config, self)?;
        guarded(config)
    }
}

/// Without `[auth]` anybody could be anybody.
fn verified(config: &Config, role: Role) -> Result<(), Invalid> {
    let mut endpoints = config.listen.endpoints(role);
    let open = endpoints.find(|(_, endpoint)| role.has_gateway() && !endpoint.is_loopback());
    match open {
        Some((key, endpoint)) if config.is_development() => {
            let problem =
                anyhow!("{endpoint} is not on loopback, so users must be verified: configure [auth]");
            Err(Invalid::new(key, problem))
        }
        _ => Ok(()),
    }
}

/// Whether the backends fit each other and the role.
fn backends(config: &Config, role: Role) -> Result<(), Invalid> {
    let (has_store, has_presence) = (config.store.url.is_some(), config.presence.url.is_some());
    if role != Role::Serve {
        let needed = [
            (kafka::BROKERS, config.kafka.is_used()),
            (store::URL, has_store),
            (presence::URL, has_presence),
        ];
        if let Some((key, _)) = needed.into_iter().find(|(_, is_set)| !is_set) {
            let problem = anyhow!(
                "`tidegate {}` shares log, store and presence with other processes: set kafka.brokers, store.url and \
                 presence.url, or run `tidegate serve`",
                role.name()
            );
            return Err(Invalid::new(key, problem));
        }
    }
    if has_presence && !has_store {
        let problem = anyhow!(
            "presence is shared with other processes, and SQLite in the data folder cannot be: set store.url too"
        );
        return Err(Invalid::new(presence::URL, problem));
    }
    if has_presence { reachable(config, role) } else { Ok(()) }
}

/// Other processes' pushers must reach this gateway, and backends whatever process has gRPC.
fn reachable(config: &Config, role: Role) -> Result<(), Invalid> {
    let Some(first) = config.listen.grpc.first() else {
        if !role.has_gateway() {
            return Ok(());
        }
        let problem = anyhow!("with presence.url other processes push to this one: give it an address");
        return Err(Invalid::new(listen::GRPC, problem));
    };
    let unspecified = first.addresses().into_iter().find(|address| address.ip().is_unspecified());
    match unspecified {
        Some(address) if config.gateway.advertise.is_empty() => {
            let problem = gateway::unreachable(address.ip());
            Err(Invalid::new(gateway::ADVERTISE, problem.context(format!("listen.grpc is {first}"))))
        }
        _ => Ok(()),
    }
}

/// Whoever reaches `listen.grpc` may send as anybody.
fn guarded(config: &Config) -> Result<(), Invalid> {
    match config.listen.grpc.iter().find(|endpoint| !endpoint.is_loopback()) {
        Some(endpoint) if !config.rpc.is_guarded() => {
            let problem = anyhow!(
                "{endpoint} is not on loopback, so whoever calls must be known: set rpc.token, or rpc.cert_file, \
                 rpc.key_file and rpc.client_ca_file"
            );
            Err(Invalid::new(listen::GRPC, problem))
        }
        _ => Ok(()),
    }
}
