//! `tidegate dead`: the dead letters, which are records that could not be decoded or stored.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use tidegate_pipeline::log::kafka::dead::{self, Dead};

use crate::cli;
use crate::config::Config;

/// Lists, shows or sends again.
pub(crate) fn run(command: &cli::Dead) -> anyhow::Result<()> {
    let (cli::Dead::List { settings, .. }
    | cli::Dead::Show { settings, .. }
    | cli::Dead::Retry { settings, .. }) = command;
    let config = Config::load(&settings.sources())?;
    ensure!(
        config.kafka.is_used(),
        "kafka.brokers is not set: without Kafka there are no dead letters; give the configuration by --config"
    );
    let kafka = config.kafka.settings();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    runtime.block_on(async {
        match command {
            cli::Dead::List { after, limit, .. } => {
                dead::list(&kafka, *after, *limit as usize).await?.iter().for_each(line);
            }
            cli::Dead::Show { id, .. } => show(&dead::show(&kafka, *id).await?),
            cli::Dead::Retry { ids, .. } => {
                for id in ids {
                    dead::retry(&kafka, *id).await.with_context(|| id.to_string())?;
                    println!("{id}  sent again");
                }
            }
        }
        Ok(())
    })
}

/// In one line.
fn line(dead: &Dead) {
    let what = dead.record().map_or_else(|| conversation(dead), |record| record.server_id);
    println!("{:<10} {}  {what}  {}", dead.id.to_string(), at(dead), dead.reason);
}

/// Everything but the content, which is the users'.
fn show(dead: &Dead) {
    println!("id            {}", dead.id);
    println!("written       {}", at(dead));
    println!("reason        {}", dead.reason);
    println!("from          {}", dead.from);
    println!("conversation  {}", conversation(dead));
    match dead.cut_from_bytes {
        None => println!("bytes         {}", dead.value.len()),
        Some(bytes) => println!("bytes         {bytes}, of which {} are kept", dead.value.len()),
    }
    match dead.record() {
        None => println!("record        cannot be decoded"),
        Some(record) => {
            println!("server_id     {}", record.server_id);
            println!("local_id      {}", record.local_id.as_str().escape_debug());
        }
    }
}

fn conversation(dead: &Dead) -> String {
    String::from_utf8_lossy(&dead.key).escape_debug().to_string()
}

fn at(dead: &Dead) -> humantime::Rfc3339Timestamp {
    let since = Duration::from_millis(u64::try_from(dead.at_ms).unwrap_or_default());
    humantime::format_rfc3339_millis(UNIX_EPOCH + since)
}
