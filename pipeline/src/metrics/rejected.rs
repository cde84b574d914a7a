//! Messages refused, by code; of sessions and of backends.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tidegate_proto::v1::Code;

use super::Counters;

/// Counts refused messages. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Rejected {
    family: Counters,
    /// The handles of `family`, by the code's number.
    by_code: Arc<[Counter]>,
}

impl Default for Rejected {
    fn default() -> Self {
        let family = Counters::default();
        let by_code = codes().map(|code| family.get_or_create_owned(&[("code", code)])).collect();
        Self { family, by_code }
    }
}

impl Rejected {
    /// A message was refused with the code of that number.
    pub fn count(&self, code: i32) {
        if let Some(counter) = usize::try_from(code).ok().and_then(|code| self.by_code.get(code)) {
            counter.inc();
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("messages_rejected", "Messages refused, by code", self.family.clone());
    }
}

/// The names of all codes, in the order of their numbers, which have no gap.
fn codes() -> impl Iterator<Item = &'static str> {
    (0..).map_while(|code| Code::try_from(code).ok()).map(|code| code.as_str_name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_counter() {
        let rejected = Rejected::default();
        rejected.count(Code::ProtocolError as i32);
        rejected.count(1_000);
        let count = |code: Code| rejected.family.get_or_create(&[("code", code.as_str_name())]).get();
        assert_eq!((count(Code::ProtocolError), count(Code::Conflict)), (1, 0));
    }
}
