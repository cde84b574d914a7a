//! What a message must be, and the figures computed from it: its server_id and the hash of its body (docs/PROTOCOL.md
//! "Messages").

use sha2::{Digest, Sha256};

use crate::Refusal;
use crate::id::{ChannelName, GroupId, LocalId, UserId};
use crate::limits::{MAX_CONTENT_BYTES, MAX_NICKNAME_BYTES, MAX_RELATED_ID_BYTES};
use crate::timeline::Timeline;
use crate::v1::{Code, Msg, MsgType};

/// To whom a message goes. It alone decides the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One user.
    User(UserId),
    /// The members of a group.
    Group(GroupId),
    /// The subscribers of a channel.
    Channel(ChannelName),
}

impl Target {
    /// The conversation of a message from `sender` to this target.
    pub fn conversation(&self, sender: &UserId) -> Timeline {
        match self {
            Self::User(user) => Timeline::direct(sender, user),
            Self::Group(group) => Timeline::group(group),
            Self::Channel(channel) => Timeline::channel(channel),
        }
    }
}

/// Checks a message as a client sent it: exactly one target, ids in form, sizes, integers, types.
///
/// Returns the target. The refusal says which field is wrong: TOO_LARGE for the content, otherwise INVALID_ARGUMENT.
/// An empty `local_id` is allowed; the server draws one.
pub fn check(msg: &Msg) -> Result<Target, Refusal> {
    if msg.content.len() > MAX_CONTENT_BYTES {
        let message =
            format!("content has {} bytes, over the limit of {MAX_CONTENT_BYTES}", msg.content.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    if !msg.local_id.is_empty() {
        LocalId::new(&msg.local_id)?;
    }
    if msg.create_time < 0 || msg.expire_at < 0 {
        return Err(Refusal::invalid("create_time and expire_at must be at least 0"));
    }
    if msg.related_id.len() > MAX_RELATED_ID_BYTES {
        return Err(Refusal::invalid(format!("related_id must be at most {MAX_RELATED_ID_BYTES} bytes")));
    }
    if msg.nickname.len().max(msg.said_at.len()) > MAX_NICKNAME_BYTES {
        let message = format!("nickname and said_at must be at most {MAX_NICKNAME_BYTES} bytes");
        return Err(Refusal::invalid(message));
    }
    if (MsgType::Read as i32..=MsgType::Service as i32).contains(&msg.msg_type) {
        return Err(Refusal::invalid("msg_type 23 to 26 are the server's"));
    }
    target(msg)
}

/// The server_id of a message: the first 16 bytes of SHA-256(len(send_id) ‖ send_id ‖ local_id) in lower-case hex.
pub fn server_id(send_id: &UserId, local_id: &LocalId) -> String {
    let mut hash = Sha256::new();
    hash.update([send_id.as_str().len() as u8]);
    hash.update(send_id.as_str());
    hash.update(local_id.as_str());
    hex(&hash.finalize()[..16])
}

/// The hash that decides whether two messages have "the same body": over receiver_id, group_id, channel, msg_type,
/// content_type, content, related_id and expire_at. What it covers is pinned, since it is stored.
pub fn body_hash(msg: &Msg) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [&msg.receiver_id, &msg.group_id, &msg.channel, &msg.related_id] {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hash.update(msg.msg_type.to_be_bytes());
    hash.update(msg.content_type.to_be_bytes());
    hash.update(msg.expire_at.to_be_bytes());
    hash.update(&msg.content);
    hash.finalize().into()
}

fn target(msg: &Msg) -> Result<Target, Refusal> {
    match (&*msg.receiver_id, &*msg.group_id, &*msg.channel) {
        (user, "", "") if !user.is_empty() => Ok(Target::User(UserId::new(user)?)),
        ("", group, "") if !group.is_empty() => Ok(Target::Group(GroupId::new(group)?)),
        ("", "", channel) if !channel.is_empty() => Ok(Target::Channel(ChannelName::new(channel)?)),
        _ => Err(Refusal::invalid("exactly one of receiver_id, group_id and channel must be set")),
    }
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct() -> Msg {
        Msg { receiver_id: "bob".into(), local_id: "1".into(), content: "hi".into(), ..Msg::default() }
    }

    #[test]
    fn exactly_one_target() {
        assert_eq!(check(&direct()), Ok(Target::User(UserId::new("bob").unwrap())));
        assert!(check(&Msg { receiver_id: String::new(), ..direct() }).is_err());
        assert!(check(&Msg { group_id: "g".into(), ..direct() }).is_err());
        assert!(check(&Msg { channel: "c".into(), ..direct() }).is_err());
    }

    #[test]
    fn sizes_and_types() {
        let large = Msg { content: vec![0; MAX_CONTENT_BYTES + 1].into(), ..direct() };
        assert_eq!(check(&large).unwrap_err().code, Code::TooLarge);
        assert!(check(&Msg { content: vec![0; MAX_CONTENT_BYTES].into(), ..direct() }).is_ok());
        for kind in 23..=26 {
            assert_eq!(check(&Msg { msg_type: kind, ..direct() }).unwrap_err().code, Code::InvalidArgument);
        }
        for kind in [22, 27, -1, i32::MAX] {
            assert!(check(&Msg { msg_type: kind, ..direct() }).is_ok());
        }
        assert!(check(&Msg { expire_at: -1, ..direct() }).is_err());
        let longest = "n".repeat(MAX_NICKNAME_BYTES);
        let named = Msg { nickname: longest.clone(), said_at: longest.clone(), ..direct() };
        assert!(check(&named).is_ok());
        assert!(check(&Msg { nickname: longest.clone() + "n", ..direct() }).is_err());
        assert!(check(&Msg { said_at: longest + "n", ..direct() }).is_err());
    }

    #[test]
    fn server_id_is_pinned() {
        let id = server_id(&UserId::new("123").unwrap(), &LocalId::new("abc").unwrap());
        // printf '\x03123abc' | sha256sum | cut -c-32
        assert_eq!(id, "0d80eea6c39c23adb1a62386bba9851a");
    }

    #[test]
    fn the_body_is_what_the_sender_wrote() {
        let hash = body_hash(&direct());
        assert_eq!(
            hash,
            body_hash(&Msg { create_time: 7, send_id: "x".into(), nickname: "X".into(), ..direct() })
        );
        for other in [
            Msg { content: "ho".into(), ..direct() },
            Msg { msg_type: 99, ..direct() },
            Msg { content_type: 1, ..direct() },
            Msg { related_id: "r".into(), ..direct() },
            Msg { expire_at: 1, ..direct() },
            Msg { receiver_id: "eve".into(), ..direct() },
        ] {
            assert_ne!(hash, body_hash(&other));
        }
    }
}
