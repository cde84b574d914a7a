//! The configuration: defaults, then a TOML file, then `TIDEGATE_…` variables, then flags, each over the one before.
//!
//! A setting `section.key` has the variable `TIDEGATE_SECTION__KEY`. An unknown name is an error that names the nearest
//! known one, and every error says where the value comes from. `docs/tidegate.example.toml` is the reference for users.

mod api;
mod auth;
pub(crate) mod channels;
pub(crate) mod endpoint;
mod gateway;
pub(crate) mod kafka;
mod keys;
mod layers;
pub(crate) mod limits;
mod list;
pub(crate) mod listen;
pub(crate) mod log;
mod origin;
mod presence;
pub(crate) mod retention;
mod role;
pub(crate) mod rpc;
mod secret;
mod section;
mod stop;
mod store;
mod tls;
pub(crate) mod trace;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

pub(crate) use keys::FILE_VARIABLE;
use layers::Layers;
pub(crate) use layers::Place;
pub(crate) use role::Role;
use section::Invalid;

/// Everything that can be set. Paths are relative to the working directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The data folder: messages, the development certificate and secret. One process at a time.
    pub(crate) data: PathBuf,
    /// Where clients and operators come in.
    pub(crate) listen: listen::Listen,
    /// The certificate.
    pub(crate) tls: tls::Tls,
    /// How the tokens of users are verified.
    pub(crate) auth: auth::Auth,
    /// The backends that may send over HTTP.
    pub(crate) api: api::Api,
    /// What clients may take.
    pub(crate) limits: limits::Limits,
    /// Who this process is to others.
    pub(crate) gateway: gateway::Gateway,
    /// Where messages are kept.
    pub(crate) store: store::Store,
    /// Where it is kept which gateway holds whom.
    pub(crate) presence: presence::Presence,
    /// The log on Kafka.
    pub(crate) kafka: kafka::Kafka,
    /// How gRPC is protected.
    pub(crate) rpc: rpc::Rpc,
    /// How long and how much is kept.
    pub(crate) retention: retention::Retention,
    /// Which messages are traced.
    pub(crate) trace: trace::Trace,
    /// What the program says of itself.
    pub(crate) log: log::Log,
    /// How the program ends.
    pub(crate) stop: stop::Stop,
    /// What holds for which channel.
    pub(crate) channels: channels::Channels,
}

/// Where the layers above the defaults come from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The file; `None`: none is read.
    pub(crate) file: Option<PathBuf>,
    /// The environment; what does not begin with `TIDEGATE_` is ignored.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// Of flags: how to call it in an error, the setting and its text.
    pub(crate) flags: Vec<(String, String, String)>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file is not there, not readable or not UTF-8.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No setting has this name.
    #[error("{place}: unknown setting {key}; the nearest known one is {nearest}")]
    UnknownKey {
        /// Where it is.
        place: Place,
        /// What was written.
        key: String,
        /// What may have been meant.
        nearest: String,
    },
    /// Not TOML, or not the type that the setting has.
    #[error("{place}: {message}")]
    Rejected {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// The right type and a wrong value.
    #[error("{place}: {key}")]
    Invalid {
        /// Where it was set.
        place: Place,
        /// The setting.
        key: &'static str,
        /// What is wrong and what to do.
        #[source]
        problem: anyhow::Error,
    },
}

impl Config {
    /// Puts the layers together and validates the result: types, ranges, what must or may not go together, the keys of
    /// `auth` and `api` as they are on disk. Certificates, ports and the data folder are not looked at.
    ///
    /// For a command that is no server; what a server needs may be missing.
    pub(crate) fn load(sources: &Sources) -> Result<Self, Error> {
        Self::read(sources, None)
    }

    /// The same for a server, whose parts must fit each other.
    pub(crate) fn load_for(role: Role, sources: &Sources) -> Result<Self, Error> {
        Self::read(sources, Some(role))
    }

    fn read(sources: &Sources, role: Option<Role>) -> Result<Self, Error> {
        let mut layers = Layers::default();
        if let Some(path) = &sources.file {
            let unreadable = |source| Error::Unreadable { path: path.clone(), source };
            layers.file(path, &std::fs::read_to_string(path).map_err(unreadable)?)?;
        }
        for (name, text) in &sources.variables {
            let Some((name, key)) = name.to_str().and_then(|name| Some((name, keys::of_variable(name)?)))
            else {
                continue;
            };
            let place = Place::Variable(name.to_owned());
            match text.to_str() {
                Some(text) => layers.value(&key, text, place)?,
                None => return Err(Error::Rejected { place, message: "is not UTF-8".to_owned() }),
            }
        }
        for (flag, key, text) in &sources.flags {
            layers.value(key, text, Place::Flag(flag.clone()))?;
        }
        let config = layers.config()?;
        let invalid = |Invalid { key, problem }| Error::Invalid { place: layers.place(key), key, problem };
        config
            .validate()
            .and_then(|()| role.map_or(Ok(()), |role| role.validate(&config)))
            .map_err(invalid)?;
        Ok(config)
    }

    /// Whether the gateway makes its own tokens: no auth is configured. Then every listener is on loopback, or the
    /// configuration would not be valid (docs/OPERATIONS.md "Development mode").
    pub(crate) fn is_development(&self) -> bool {
        self.auth.algorithm.is_none()
    }

    /// Each setting by itself.
    fn validate(&self) -> Result<(), Invalid> {
        if self.data.as_os_str().is_empty() {
            return Err(Invalid::new("data", anyhow!("give the path of a folder")));
        }
        self.listen.validate()?;
        self.tls.validate()?;
        self.auth.verifier()?;
        self.api.all_keys()?;
        self.limits.validate()?;
        self.gateway.validate()?;
        self.store.validate()?;
        self.presence.validate()?;
        self.kafka.validate()?;
        self.rpc.validate()?;
        self.retention.validate()?;
        self.trace.validate()?;
        self.log.filter()?;
        self.stop.validate()?;
        self.channels.validate()
    }

    const TOP: &'static [&'static str] = &["data", "channels"];
    const SECTIONS: &'static [(&'static str, &'static [&'static str])] = &[
        ("listen", listen::Listen::KEYS),
        ("tls", tls::Tls::KEYS),
        ("auth", auth::Auth::KEYS),
        ("api", api::Api::KEYS),
        ("limits", limits::Limits::KEYS),
        ("gateway", gateway::Gateway::KEYS),
        ("store", store::Store::KEYS),
        ("presence", presence::Presence::KEYS),
        ("kafka", kafka::Kafka::KEYS),
        ("rpc", rpc::Rpc::KEYS),
        ("retention", retention::Retention::KEYS),
        ("trace", trace::Trace::KEYS),
        ("log", log::Log::KEYS),
        ("stop", stop::Stop::KEYS),
    ];
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "tidegate-data".into(),
            listen: listen::Listen::default(),
            tls: tls::Tls::default(),
            auth: auth::Auth::default(),
            api: api::Api::default(),
            limits: limits::Limits::default(),
            gateway: gateway::Gateway::default(),
            store: store::Store::default(),
            presence: presence::Presence::default(),
            kafka: kafka::Kafka::default(),
            rpc: rpc::Rpc::default(),
            retention: retention::Retention::default(),
            trace: trace::Trace::default(),
            log: log::Log::default(),
            stop: stop::Stop::default(),
            channels: channels::Channels::default(),
        }
    }
}

#[cfg(test)]
mod tests;
