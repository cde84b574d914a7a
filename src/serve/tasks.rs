//! What runs in this process, and how it ends. The one place that spawns.

use std::collections::HashMap;

use anyhow::Context as _;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::signals::Signals;

/// The services of the process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Ends what lets in: listeners, watchers.
    pub(super) entrance: CancellationToken,
    /// Ends the services beside the sessions, once those are gone.
    pub(super) services: CancellationToken,
    /// Told by an operator to stop.
    pub(super) drain: CancellationToken,
    /// Ends the reader of Kafka.
    pub(super) reader: CancellationToken,
    /// Connections on their way to becoming sessions.
    pub(super) setup: TaskTracker,
    /// The first one to end ends the process.
    running: JoinSet<anyhow::Result<()>>,
    /// What those are, that have not ended.
    names: HashMap<task::Id, &'static str>,
    /// Ends by itself when nobody can append any more.
    sequencer: JoinSet<()>,
}

impl Tasks {
    /// Runs a service that may fail; it has its name for whoever wonders what has not ended.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        service: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let id = self.running.spawn(service).id();
        self.names.insert(id, name);
    }

    /// Runs a service.
    pub(super) fn run(&mut self, name: &'static str, service: impl Future<Output = ()> + Send + 'static) {
        self.spawn(name, async move {
            service.await;
            Ok(())
        });
    }

    /// Runs what works off the log.
    pub(super) fn sequence(&mut self, sequencer: impl Future<Output = ()> + Send + 'static) {
        self.sequencer.spawn(sequencer);
    }

    /// Waits for a signal; or for a part that ends before it should, which is an error.
    pub(super) async fn until_told(&mut self, signals: &mut Signals) -> anyhow::Result<&'static str> {
        tokio::select! {
            name = signals.next() => Ok(name),
            () = self.drain.cancelled() => Ok("an operator"),
            ended = self.running.join_next() => {
                ended.context("no service runs")?.context("a service panicked")??;
                anyhow::bail!("a service ended by itself")
            }
            Some(_) = self.sequencer.join_next() => anyhow::bail!("the sequencer ended by itself"),
        }
    }

    /// Waits until the connections that are being set up are gone.
    pub(super) async fn end_setup(&self) {
        self.setup.close();
        self.setup.wait().await;
    }

    /// Ends the services.
    pub(super) async fn end_services(&mut self) -> anyhow::Result<()> {
        self.services.cancel();
        while let Some(ended) = self.running.join_next_with_id().await {
            let (id, result) = ended.context("a service panicked")?;
            self.names.remove(&id);
            result?;
        }
        Ok(())
    }

    /// The services that have not ended, by their names.
    pub(super) fn left(&self) -> Vec<&'static str> {
        let mut left: Vec<_> = self.names.values().copied().collect();
        left.sort_unstable();
        left
    }

    /// Waits until the log is worked off, or its partitions are let go.
    pub(super) async fn end_sequencer(&mut self) {
        self.reader.cancel();
        while self.sequencer.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_has_a_name() {
        let mut tasks = Tasks::default();
        let stop = tasks.services.clone();
        tasks.run("one that ends", async move { stop.cancelled().await });
        tasks.run("one that does not", pending());
        assert!(timeout(Duration::from_secs(1), tasks.end_services()).await.is_err());
        assert_eq!(tasks.left(), ["one that does not"]);
    }
}
