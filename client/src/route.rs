//! Which servers to try, in which order. No IO.

/// The servers of the configuration, and those another server named when it went away.
#[derive(Debug)]
pub(crate) struct Route {
    servers: Vec<String>,
    alternatives: Vec<String>,
}

impl Route {
    pub(crate) fn new(servers: Vec<String>) -> Self {
        Self { servers, alternatives: Vec::new() }
    }

    /// A server has named others to go to; they are tried first, once.
    pub(crate) fn alternatives(&mut self, mut servers: Vec<String>) {
        servers.truncate(MAX_ALTERNATIVES);
        self.alternatives = servers;
    }

    /// The servers of the next round of attempts, each once.
    pub(crate) fn round(&mut self) -> Vec<String> {
        let mut round = std::mem::take(&mut self.alternatives);
        for server in &self.servers {
            if !round.contains(server) {
                round.push(server.clone());
            }
        }
        round
    }
}

/// How many of the servers named are tried.
const MAX_ALTERNATIVES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternatives_come_first_and_once() {
        let mut route = Route::new(vec!["a".into(), "b".into()]);
        assert_eq!(route.round(), ["a", "b"]);
        route.alternatives(vec!["c".into(), "b".into()]);
        assert_eq!(route.round(), ["c", "b", "a"]);
        assert_eq!(route.round(), ["a", "b"]);
    }

    #[test]
    fn not_every_name_is_followed() {
        let mut route = Route::new(vec!["a".into()]);
        route.alternatives((0..1_000).map(|number| number.to_string()).collect());
        assert_eq!(route.round().len(), MAX_ALTERNATIVES + 1);
    }
}
