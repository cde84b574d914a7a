//! Sends the spans of traced messages to a collector, by OTLP over gRPC.

use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::warn;

use crate::config::trace::Trace;

/// Spans on their way. Outside the runtime, which it needs to live longer than itself.
#[derive(Debug)]
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Begins to send, if there is somewhere to send to; in a runtime. The collector need not be there yet.
    pub(crate) fn start(config: &Trace, role: &'static str) -> anyhow::Result<Self> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(Self(None)) };
        let exporter =
            SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(EXPORT_LIMIT);
        let exporter = exporter.build().with_context(|| format!("trace.otlp_endpoint: {endpoint}"))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder().with_service_name(format!("tidegate-{role}")).with_attribute(version);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        global::set_tracer_provider(provider.clone());
        Ok(Self(Some(provider)))
    }

    /// Sends what is left, within some seconds.
    pub(crate) fn stop(self) {
        let Some(provider) = self.0 else { return };
        if let Err(error) = provider.shutdown_with_timeout(EXPORT_LIMIT) {
            warn!(error = &error as &dyn std::error::Error, "the last spans are not sent");
        }
    }
}

/// How long the collector may take.
const EXPORT_LIMIT: Duration = Duration::from_secs(3);
