//! A client without brokers gets them back.
//!
//! A broker that stops may answer that there are no brokers. librdkafka then forgets all it has, those of the
//! configuration too, and sometimes does not come back to the latter: it asks nobody any more, for good
//! (confluentinc/librdkafka issue 5301, open as of 2.13). Its statistics show it, and it takes brokers at any time.

use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::client::{Client, ClientContext};
use rdkafka::{ClientConfig, Statistics, bindings};
use tracing::warn;

/// The brokers of the configuration, and whether a client has any.
#[derive(Debug)]
pub(super) struct Brokers {
    configured: CString,
    /// Said by the last statistics.
    none: AtomicBool,
}

impl Brokers {
    /// Those of a client with this configuration, which must have statistics.
    pub(super) fn of(config: &ClientConfig) -> Self {
        let configured = config.get("bootstrap.servers").unwrap_or_default();
        // librdkafka does not make a client of a name with a NUL.
        Self { configured: CString::new(configured).unwrap_or_default(), none: AtomicBool::new(false) }
    }

    /// Looks whether the client has brokers.
    pub(super) fn note(&self, statistics: &Statistics) {
        let is_broker = |source: &str| source == "learned" || source == "configured";
        let none = !statistics.brokers.values().any(|broker| is_broker(&broker.source));
        self.none.store(none, Ordering::Relaxed);
    }

    /// Gives a client that has none those of the configuration.
    pub(super) fn restore<C: ClientContext>(&self, client: &Client<C>) {
        if !self.none.swap(false, Ordering::Relaxed) {
            return;
        }
        warn!(brokers = %self.configured.to_string_lossy(), "librdkafka has forgotten all brokers; they are named again");
        #[expect(unsafe_code, reason = "the library does not wrap it")]
        // SAFETY: the client lives while it is borrowed, and the text ends with a NUL and is copied.
        unsafe {
            bindings::rd_kafka_brokers_add(client.native_ptr(), self.configured.as_ptr());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use rdkafka::message::DeliveryResult;
    use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext};

    use super::*;

    struct Context(Brokers);

    impl ClientContext for Context {
        fn stats(&self, statistics: Statistics) {
            self.0.note(&statistics);
        }
    }

    impl ProducerContext for Context {
        type DeliveryOpaque = ();

        fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
    }

    #[test]
    fn a_client_without_brokers_gets_those_of_the_configuration() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut without = ClientConfig::new();
        without.set("statistics.interval.ms", "10");
        let mut config = without.clone();
        config.set("bootstrap.servers", address);
        let context = Context(Brokers::of(&config));
        let producer: BaseProducer<Context> = without.create_with_context(context).unwrap();
        let begin = Instant::now();
        while listener.accept().is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "it never connects");
            producer.poll(Duration::from_millis(10));
            producer.context().0.restore(producer.client());
        }
        // With them it is not given any again.
        let begin = Instant::now();
        producer.context().0.none.store(true, Ordering::Relaxed);
        while producer.context().0.none.load(Ordering::Relaxed) {
            assert!(begin.elapsed() < Duration::from_secs(60), "it has none still");
            producer.poll(Duration::from_millis(10));
        }
    }
}
