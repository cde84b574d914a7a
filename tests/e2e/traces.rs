//! One trace of a message, from the client's frame to the delivery, as a collector gets it.

use std::collections::HashMap;

use tidegate_client::Transport;

use crate::collector::collect;
use crate::peer::{Peer, within};
use crate::server::Server;

over_each_transport!(a_message_is_one_trace);

async fn a_message_is_one_trace(transport: Transport) {
    let (address, mut exported) = collect();
    let endpoint = format!("trace.otlp_endpoint=http://{address}");
    let server = Server::start_with(&[], &[&endpoint, "trace.sample_ratio=1"]).await;
    let mut bob = Peer::connect(&server, transport, "bob", "b").await;
    let alice = Peer::connect(&server, transport, "alice", "a").await;
    alice.store("bob", "hello").await;
    assert_eq!(bob.text().await, "hello");

    let mut spans = HashMap::new();
    while spans.len() < STEPS.len() {
        for span in within(exported.recv()).await.unwrap() {
            assert!(spans.insert(span.name.clone(), span).is_none(), "each step once");
        }
    }
    let first = &spans["send"];
    assert!(first.parent_span_id.is_empty(), "the trace begins here");
    let message = first.attributes.iter().find(|attribute| attribute.key == "messaging.message.id");
    assert!(message.is_some(), "it names the message: {first:?}");
    for (name, span) in &spans {
        assert!(STEPS.contains(&&**name), "{name}");
        assert_eq!(span.trace_id, first.trace_id, "{name} belongs to it");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        if name != "send" {
            assert_eq!(span.parent_span_id, first.span_id, "{name}");
        }
    }
}

/// What is done for a message.
const STEPS: [&str; 4] = ["send", "store", "push", "deliver"];
