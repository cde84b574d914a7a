//! What runs in this process, and how it ends. The one place that spawns.

use anyhow::Context as _;
use tokio::task::JoinSet;
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
    /// Ends by itself when nobody can append any more.
    sequencer: JoinSet<()>,
}

impl Tasks {
    /// Runs a service that may fail.
    pub(super) fn spawn(&mut self, service: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.running.spawn(service);
    }

    /// Runs a service.
    pub(super) fn run(&mut self, service: impl Future<Output = ()> + Send + 'static) {
        self.running.spawn(async move {
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

    /// Ends the services, once the connections that are being set up are gone.
    pub(super) async fn end_services(&mut self) -> anyhow::Result<()> {
        self.setup.close();
        self.setup.wait().await;
        self.services.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.context("a service panicked")??;
        }
        Ok(())
    }

    /// Waits until the log is worked off, or its partitions are let go.
    pub(super) async fn end_sequencer(&mut self) {
        self.reader.cancel();
        while self.sequencer.join_next().await.is_some() {}
    }
}
