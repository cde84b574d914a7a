//! When a silent peer is taken for dead. Pure: it is told the ticks and the signs of life.

/// The state between two ticks, which are [`tidegate_proto::limits::HEARTBEAT`] apart.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    alive: bool,
    pinged: bool,
    missed: u32,
}

/// What a tick asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tick {
    Ping,
    Dead,
}

impl Heartbeat {
    /// The peer sent something, or took bytes that had waited for it. A client on a slow line is not dead although its
    /// pong stands in a long queue.
    pub(super) fn alive(&mut self) {
        self.alive = true;
    }

    /// A tick. While nothing is read no pong can be seen, so nothing counts as missed.
    pub(super) fn tick(&mut self, reading: bool) -> Tick {
        if self.alive {
            self.missed = 0;
        } else if self.pinged && reading {
            self.missed += 1;
        }
        (self.alive, self.pinged) = (false, true);
        if self.missed >= MAX_MISSED { Tick::Dead } else { Tick::Ping }
    }
}

/// Pings without a sign of life before the close (docs/PROTOCOL.md "Heartbeat").
const MAX_MISSED: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pings_without_an_answer_are_the_end() {
        let mut heartbeat = Heartbeat::default();
        assert_eq!([true; 3].map(|reading| heartbeat.tick(reading)), [Tick::Ping, Tick::Ping, Tick::Dead]);
    }

    #[test]
    fn a_sign_of_life_starts_the_count_again() {
        let mut heartbeat = Heartbeat::default();
        for _ in 0..3 {
            assert_eq!(heartbeat.tick(true), Tick::Ping);
            assert_eq!(heartbeat.tick(true), Tick::Ping);
            heartbeat.alive();
        }
    }

    #[test]
    fn nothing_is_missed_while_nothing_is_read() {
        let mut heartbeat = Heartbeat::default();
        for _ in 0..10 {
            assert_eq!(heartbeat.tick(false), Tick::Ping);
        }
        assert_eq!(heartbeat.tick(true), Tick::Ping);
        assert_eq!(heartbeat.tick(true), Tick::Dead);
    }
}
