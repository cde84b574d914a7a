//! Signals over processes: from gateway to gateway, whatever becomes of the pipelines.

use tidegate_client::Event;
use tidegate_client::v1::Signal;

use crate::{Cluster, Device, stop};

impl Device {
    fn signal(&self, to: &str, kind: &str) {
        let user = format!("{to}{}", self.suffix);
        assert!(self.client.signal(Signal { user, kind: kind.to_owned(), ..Signal::default() }));
    }

    /// The next two signals: who sent them, and their kinds.
    async fn two_signals(&mut self) -> [(String, String); 2] {
        let mut heard = Vec::new();
        while heard.len() < 2 {
            if let Event::Signal(signal) = self.event().await {
                let from = signal.from.strip_suffix(&self.suffix).expect("a user of this test").to_owned();
                heard.push((from, signal.kind));
            }
        }
        heard.try_into().expect("two")
    }
}

/// Bob has a device on each gateway, alice too; each hears once what is for it, in order.
async fn hear(role: &str, with_kafka: bool) {
    let cluster = Cluster::new(with_kafka).await;
    let (one, two) = (cluster.gateway(role, "one").await, cluster.gateway(role, "two").await);
    let mut alice = cluster.connect(&one, "alice", "desk").await;
    let mut phone = cluster.connect(&two, "alice", "phone").await;
    let mut near = cluster.connect(&one, "bob", "desk").await;
    let mut far = cluster.connect(&two, "bob", "phone").await;
    let said = |from: &str, kinds: [&str; 2]| kinds.map(|kind| (from.to_owned(), kind.to_owned()));
    for kind in ["typing", "stopped"] {
        alice.signal("bob", kind);
    }
    for bob in [&mut near, &mut far] {
        assert_eq!(bob.two_signals().await, said("alice", ["typing", "stopped"]));
    }
    // To oneself: not to the session that sends.
    for kind in ["read", "done"] {
        phone.signal("alice", kind);
    }
    assert_eq!(alice.two_signals().await, said("alice", ["read", "done"]));
    for kind in ["one", "two"] {
        far.signal("alice", kind);
    }
    for alice in [&mut alice, &mut phone] {
        assert_eq!(alice.two_signals().await, said("bob", ["one", "two"]));
    }
    stop([one, two]).await;
}

#[tokio::test]
#[ignore = "needs Redis and PostgreSQL: scripts/test services"]
async fn signals_cross_two_processes() {
    hear("serve", false).await;
}

#[tokio::test]
#[ignore = "needs Kafka, Redis and PostgreSQL: scripts/test services"]
async fn signals_pass_from_gateway_to_gateway_while_no_pipeline_runs() {
    hear("gateway", true).await;
}
