//! Reaches each backend that is configured, and says what is wrong with it and what to do. Changes nothing.

use anyhow::{Context as _, anyhow};
use tidegate_pipeline::log::kafka;
use tidegate_pipeline::presence::redis;
use tidegate_pipeline::store::{Look, Store};

use crate::config::{Config, Role};

/// Prints a line for each; all are looked at, whatever is wrong with one of them.
pub(super) fn check(config: &Config, role: Role) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    let looks = runtime.block_on(async { tokio::join!(log(config, role), presence(config), store(config)) });
    runtime.shutdown_background();
    let mut wrong = Vec::new();
    for (key, look) in [("kafka.brokers", looks.0), ("presence.url", looks.1), ("store.url", looks.2)] {
        match look {
            Ok(None) => {}
            Ok(Some(said)) => said.iter().for_each(|line| println!("# {key}: {line}")),
            Err(error) => wrong.push(error.context(key)),
        }
    }
    let Some(last) = wrong.pop() else { return Ok(()) };
    wrong.iter().for_each(|error| eprintln!("tidegate: {error:#}"));
    Err(last)
}

/// What is to be said of a backend: first what it is, then what should be otherwise; `None`: it is not used.
type Said = anyhow::Result<Option<Vec<String>>>;

async fn log(config: &Config, role: Role) -> Said {
    if !config.kafka.is_used() {
        return Ok(None);
    }
    let report = kafka::check(&config.kafka.settings()).await?;
    let kafka::Report { brokers, partitions, retention_ms, warnings } = report;
    // A gateway removes nothing, and may have another figure.
    if role.has_pipeline()
        && let Some(wrong) = retention_ms.and_then(|kept| config.retention.forgets_before_log(kept))
    {
        return Err(anyhow!(wrong));
    }
    let topic = match partitions {
        0 => format!("{} is made at the next start", config.kafka.topic),
        _ => format!("{partitions} partitions of {}", config.kafka.topic),
    };
    let first = format!("Kafka: brokers {brokers}, {topic}");
    let warnings = warnings.into_iter().map(|warning| format!("warning: {warning}"));
    Ok(Some([first].into_iter().chain(warnings).collect()))
}

async fn presence(config: &Config) -> Said {
    let Some(settings) = config.presence.settings() else { return Ok(None) };
    let version = redis::check::check(&settings).await?;
    Ok(Some(vec![format!("Redis {version}, this user may do what is needed")]))
}

async fn store(config: &Config) -> Said {
    let Some(url) = &config.store.url else { return Ok(None) };
    let Look { server, pending, clock_ahead_ms } = Store::look(url.reveal()).await?;
    if clock_ahead_ms.abs() > CLOCK_MS {
        return Err(anyhow!(
            "{server}: its clock and this machine's differ by {} ms: have both set by NTP",
            clock_ahead_ms.abs()
        ));
    }
    let schema = match pending {
        0 => "the schema is up to date".to_owned(),
        _ => format!("the next start makes {pending} steps of the schema"),
    };
    let mut said = vec![format!("{server}, {schema}, its clock differs by {} ms", clock_ahead_ms.abs())];
    if clock_ahead_ms.abs() > CLOCK_WARNING_MS {
        said.push("warning: the clocks differ: times of messages and of retention do, too".to_owned());
    }
    Ok(Some(said))
}

/// A network and a slow connection may take as much.
const CLOCK_WARNING_MS: i64 = 2_000;
/// Tokens, expiries and retention would be visibly wrong.
const CLOCK_MS: i64 = 60_000;
