//! Ids and their forms (docs/PROTOCOL.md "Ids and limits"). A value of these types is valid; comparing them
//! compares bytes.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::Refusal;
use crate::limits::{MAX_CHANNEL_BYTES, MAX_ID_BYTES, MAX_LOCAL_ID_BYTES};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $form:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id in `text`, or INVALID_ARGUMENT with the form it must have.
            pub fn new(text: &str) -> Result<Self, Refusal> {
                if is_valid(text, $max, $allowed) {
                    return Ok(Self(text.into()));
                }
                Err(Refusal::invalid(format!(concat!($what, " must be 1 to {} bytes of ", $form), $max)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Who: 1 to 64 bytes of `A–Z a–z 0–9 . _ @ + -`.
    UserId, "a user id", MAX_ID_BYTES, "A-Z a-z 0-9 . _ @ + -", is_id_byte
);
id!(
    /// Which of a user's clients; the form of a user id.
    DeviceId, "a device id", MAX_ID_BYTES, "A-Z a-z 0-9 . _ @ + -", is_id_byte
);
id!(
    /// Which group; the form of a user id.
    GroupId, "a group id", MAX_ID_BYTES, "A-Z a-z 0-9 . _ @ + -", is_id_byte
);
id!(
    /// Which channel: 1 to 128 bytes of the bytes of an id and `/`. Those that begin with `@` are the system's.
    ChannelName, "a channel name", MAX_CHANNEL_BYTES, "A-Z a-z 0-9 . _ @ + - /", is_channel_byte
);
id!(
    /// A sending device's own name for a message: 1 to 64 bytes of printable ASCII.
    LocalId, "a local_id", MAX_LOCAL_ID_BYTES, "printable ASCII", is_printable
);

impl ChannelName {
    /// Everybody's channel.
    pub fn everybodys() -> Self {
        Self(EVERYBODYS.into())
    }
}

/// Everybody's channel (docs/PROTOCOL.md "Channels").
pub const EVERYBODYS: &str = "@all";

fn is_valid(text: &str, max: usize, allowed: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.len() <= max && text.bytes().all(allowed)
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'+' | b'-')
}

fn is_channel_byte(byte: u8) -> bool {
    is_id_byte(byte) || byte == b'/'
}

fn is_printable(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for good in ["a", "Alice.B_c@d+e-9", &"x".repeat(64)] {
            assert!(UserId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:b", "a/b", "é", "a\0", &"x".repeat(65)] {
            assert!(UserId::new(bad).is_err(), "{bad:?}");
        }
        assert!(ChannelName::new("news/sport").is_ok());
        assert!(ChannelName::new(&"x".repeat(129)).is_err());
        assert!(LocalId::new("a b~!").is_ok());
        assert!(LocalId::new("a\n").is_err());
        assert!(LocalId::new("a\x7f").is_err());
    }

    #[test]
    fn everybodys_channel_has_a_name_in_form() {
        assert_eq!(ChannelName::new(EVERYBODYS).unwrap(), ChannelName::everybodys());
    }

    #[test]
    fn a_refusal_says_the_form() {
        let refusal = UserId::new("a b").unwrap_err();
        assert_eq!(refusal.message, "a user id must be 1 to 64 bytes of A-Z a-z 0-9 . _ @ + -");
    }
}
