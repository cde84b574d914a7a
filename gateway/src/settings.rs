//! What an operator may set about sessions. The program fills it from the configuration.

use tidegate_pipeline::channels::Rules;
use tidegate_pipeline::trace::Sampling;

/// Limits and rates of sessions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Live devices of a user; the next one gets LIMIT.
    pub max_devices: usize,
    /// Bytes a session may have queued; beyond them it reads from the store what it could not take.
    pub outbox_bytes: usize,
    /// Messages a session may send in the long run, per second; 0: no limit.
    pub messages_per_second: u32,
    /// Messages a session may send at once.
    pub message_burst: u32,
    /// Signals a session may send, per second; 0: no limit.
    pub signals_per_second: u32,
    /// Signals a session may send at once.
    pub signal_burst: u32,
    /// Channels a session may subscribe to; the next one gets LIMIT.
    pub max_subscriptions: usize,
    /// Who may do what with which channel.
    pub channels: Rules,
    /// Which messages are traced.
    pub sampling: Sampling,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_devices: 16,
            outbox_bytes: 256 * 1024,
            messages_per_second: 200,
            message_burst: 1_000,
            signals_per_second: 100,
            signal_burst: 200,
            max_subscriptions: 200,
            channels: Rules::default(),
            sampling: Sampling::default(),
        }
    }
}
