//! What stands behind the gateway in the split form: a pipeline, and of the servers of `scripts/services` a topic, a
//! database and keys of a scenario's own.

use std::env;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::database::Database;
use crate::server::STOP_LIMIT;

/// Dropped, the pipeline is killed and the database goes.
pub(crate) struct Behind {
    name: String,
    // Before the database, which it uses.
    pipeline: Option<Child>,
    database: Database,
}

impl Behind {
    /// What the scenarios are to run on: nothing, or this if `TIDEGATE_TEST_FORM` is `split`.
    pub(crate) async fn as_told() -> Option<Self> {
        match env::var("TIDEGATE_TEST_FORM").as_deref() {
            Err(_) => None,
            Ok("split") => Some(Self {
                name: format!("tidegate-test-{:016x}", rand::random::<u64>()),
                pipeline: None,
                database: Database::make().await,
            }),
            Ok(other) => panic!("TIDEGATE_TEST_FORM is {other}: it is split, or not set"),
        }
    }

    /// What gateway and pipeline are told of the servers.
    pub(crate) fn settings(&self) -> Vec<String> {
        let name = &self.name;
        let mut settings = vec![
            format!("kafka.brokers={}", server("KAFKA")),
            format!("presence.url={}", server("REDIS")),
            format!("presence.prefix={name}:"),
            format!("store.url={}", self.database.url()),
            "kafka.partitions=2".to_owned(),
            "rpc.token=the-token-of-a-test".to_owned(),
        ];
        settings.extend(["topic", "dead_topic", "group"].map(|key| format!("kafka.{key}={name}.{key}")));
        settings
    }

    /// Starts the pipeline, the program with its settings, unless it runs: it outlives a gateway that stops.
    pub(crate) fn start(&mut self, mut pipeline: Command) {
        self.pipeline.get_or_insert_with(|| pipeline.spawn().expect("the program starts"));
    }

    /// kill -9, and its end.
    pub(crate) async fn kill(&mut self) {
        let mut pipeline = self.pipeline.take().expect("it runs");
        timeout(STOP_LIMIT, pipeline.kill()).await.expect("it dies in time").unwrap();
    }
}

fn server(name: &str) -> String {
    env::var(format!("TIDEGATE_TEST_{name}")).expect("run by scripts/services run kafka redis postgres")
}
