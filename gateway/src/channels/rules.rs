//! Who may do what with which channel. Pure.

use tidegate_proto::Refusal;
use tidegate_proto::id::ChannelName;
use tidegate_proto::v1::Code;

/// What holds for channels.
#[derive(Debug, Clone, Default)]
pub struct Rules;

impl Rules {
    /// Errors: PERMISSION_DENIED.
    pub(crate) fn may_subscribe(&self, channel: &ChannelName) -> Result<(), Refusal> {
        open_to_all(channel)
    }

    /// Errors: PERMISSION_DENIED.
    pub(crate) fn may_publish(&self, channel: &ChannelName) -> Result<(), Refusal> {
        open_to_all(channel)
    }
}

/// Those of the system are its own, but for the one that is everybody's.
fn open_to_all(channel: &ChannelName) -> Result<(), Refusal> {
    if channel.as_str().starts_with('@') && channel.as_str() != EVERYBODYS {
        let message = format!("channels that begin with @ are the system's, but for {EVERYBODYS}");
        return Err(Refusal::new(Code::PermissionDenied, message));
    }
    Ok(())
}

/// Everybody's channel (docs/PROTOCOL.md "Channels").
pub const EVERYBODYS: &str = "@all";
