//! `[trace]`: which messages are traced, and where the traces go.

use anyhow::anyhow;
use tidegate_pipeline::trace::Sampling;

use super::section::{Invalid, section};

section! {
    /// Without an endpoint nothing is traced.
    Trace {
        /// `http://host:port` or `https://host:port` of a collector that takes OTLP over gRPC.
        otlp_endpoint: Option<String> = None,
        /// The share of messages that are traced, 0 to 1, drawn where a message comes in.
        sample_ratio: f64 = 0.01,
    }
}

impl Trace {
    /// Which messages are traced.
    pub(crate) fn sampling(&self) -> Sampling {
        Sampling { ratio: if self.otlp_endpoint.is_some() { self.sample_ratio } else { 0.0 } }
    }

    pub(super) fn validate(&self) -> Result<(), Invalid> {
        if let Some(endpoint) = &self.otlp_endpoint
            && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            let problem = anyhow!("{endpoint} must begin with http:// or https://");
            return Err(Invalid::new("trace.otlp_endpoint", problem));
        }
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            let problem = anyhow!("{} is out of range, it must be 0 to 1", self.sample_ratio);
            return Err(Invalid::new("trace.sample_ratio", problem));
        }
        Ok(())
    }
}
