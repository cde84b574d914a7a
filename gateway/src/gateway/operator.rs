//! What operators are told of the gateway.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use super::Gateway;
use crate::http::Admin;

/// The gateway as operators see it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operator {
    gateway: Gateway,
    registry: Arc<Registry>,
}

impl Operator {
    /// The gateway with the metrics of the whole process.
    pub fn new(gateway: Gateway, registry: Registry) -> Self {
        Self { gateway, registry: Arc::new(registry) }
    }
}

impl Admin for Operator {
    async fn ready(&self) -> Result<(), &'static str> {
        if !self.gateway.is_ready() {
            return Err("the gateway is stopping");
        }
        match timeout(PING_TIMEOUT, self.gateway.0.parts.store.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
                Err("the store fails")
            }
            Err(_) => Err("the store does not answer"),
        }
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Less than a prober waits.
const PING_TIMEOUT: Duration = Duration::from_secs(2);
