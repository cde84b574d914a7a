//! Traces of sampled messages (OpenTelemetry): one from the client's frame over the log, the store and the push to the
//! delivery, in however many processes. Between them it travels as a `traceparent` (W3C Trace Context).
//!
//! Where the spans go is the program's to set, by opentelemetry's global provider; without one nothing is kept. A message
//! that is not sampled costs a look at an `Option`.

use std::fmt;
use std::time::SystemTime;

use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};

use crate::record::Record;

/// Which messages are traced.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sampling {
    /// The share of them, 0 to 1.
    pub ratio: f64,
}

/// Something that is done for a traced message, from when it was made until it is dropped: a span.
pub struct Step(Context);

impl Sampling {
    /// The first step of a record's trace, which the record carries from now on, if it is one of those that are traced.
    pub fn begin(self, record: &mut Record) -> Option<Step> {
        if self.ratio <= 0.0 || rand::random::<f64>() >= self.ratio {
            return None;
        }
        let step = Step::start("send", SpanKind::Server, SystemTime::now(), &Context::new());
        step.0.span().set_attribute(KeyValue::new("messaging.message.id", record.server_id.clone()));
        record.traceparent = step.traceparent();
        tracing::debug!(server_id = record.server_id, trace_id = trace_id(record), "traced");
        Some(step)
    }
}

impl Step {
    /// A step called `name` of the trace that `traceparent` names, which began at `since`.
    pub fn of(traceparent: &str, name: &'static str, since: SystemTime) -> Self {
        let parent = global::get_text_map_propagator(|propagator| {
            propagator.extract_with_context(&Context::new(), &Header(traceparent))
        });
        Self::start(name, SpanKind::Internal, since, &parent)
    }

    fn start(name: &'static str, kind: SpanKind, since: SystemTime, parent: &Context) -> Self {
        let tracer = global::tracer("tidegate");
        let span = tracer.span_builder(name).with_kind(kind).with_start_time(since);
        Self(parent.with_span(span.start_with_context(&tracer, parent)))
    }

    /// What further steps are children of; `None` if nobody takes spans.
    fn traceparent(&self) -> Option<Box<str>> {
        let mut header = Sought(None);
        global::get_text_map_propagator(|propagator| propagator.inject_context(&self.0, &mut header));
        header.0
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Step").field(self.0.span().span_context()).finish()
    }
}

/// A step for each traced one of some records, all from now on.
pub fn steps<'a>(records: impl IntoIterator<Item = &'a Record>, name: &'static str) -> Vec<Step> {
    let traced = records.into_iter().filter_map(|record| record.traceparent.as_deref());
    traced.map(|traceparent| Step::of(traceparent, name, SystemTime::now())).collect()
}

/// The id of a record's trace for the log of the program; empty if it has none.
pub fn trace_id(record: &Record) -> &str {
    record.traceparent.as_deref().and_then(|text| text.split('-').nth(1)).unwrap_or_default()
}

/// A `traceparent` that is read.
struct Header<'a>(&'a str);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// A `traceparent` that is written.
struct Sought(Option<Box<str>>);

impl Injector for Sought {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = Some(value.into());
        }
    }
}

const TRACEPARENT: &str = "traceparent";
