//! The protocol's fixed limits (docs/PROTOCOL.md "Ids and limits"). Units are in the names.

use std::time::Duration;

/// The largest frame, without its length.
pub const MAX_FRAME_BYTES: usize = 72 * 1024;
/// The largest frame before Welcome; a token must fit in.
pub const MAX_HELLO_BYTES: usize = 8 * 1024;
/// The largest `Msg.content`.
pub const MAX_CONTENT_BYTES: usize = 64 * 1024;
/// The largest content of a signal.
pub const MAX_SIGNAL_BYTES: usize = 1_000;
/// The longest `Signal.kind`.
pub const MAX_SIGNAL_KIND_BYTES: usize = 64;
/// The largest datagram sent; what every path and browser carries (Chromium's largest is 1,211).
pub const MAX_DATAGRAM_BYTES: usize = 1_150;
/// The longest user, group or device id.
pub const MAX_ID_BYTES: usize = 64;
/// The longest channel name.
pub const MAX_CHANNEL_BYTES: usize = 128;
/// The longest `Msg.local_id`.
pub const MAX_LOCAL_ID_BYTES: usize = 64;
/// The longest `Msg.related_id`.
pub const MAX_RELATED_ID_BYTES: usize = 128;
/// The longest `Msg.nickname` and `Msg.said_at`.
pub const MAX_NICKNAME_BYTES: usize = 128;
/// The longest `Hello.platform`.
pub const MAX_PLATFORM_BYTES: usize = 64;
/// The longest `Hello.agent`.
pub const MAX_AGENT_BYTES: usize = 128;
/// Sends of a session without ACCEPTED or REJECTED.
pub const MAX_IN_FLIGHT: usize = 64;
/// Server uni streams that carry deliveries.
pub const MAX_LANES: u32 = 8;
/// The most entries a Pull may ask for.
pub const MAX_PULL_ENTRIES: i64 = 1_000;
/// The largest answer to a Pull, unless a single entry is larger.
pub const MAX_PAGE_BYTES: usize = 64 * 1024;
/// The most seqs a client keeps above its cursor before it reconnects.
pub const MAX_APPLIED_ABOVE_CURSOR: usize = 4_096;
/// A session that has not said Hello by then is closed.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a client pings.
pub const HEARTBEAT: Duration = Duration::from_secs(25);
