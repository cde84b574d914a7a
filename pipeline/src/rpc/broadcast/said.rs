//! A message of the broadcast service as one of everybody's channel, and the other way round. Pure.

use std::time::{Duration, UNIX_EPOCH};

use tidegate_proto::Refusal;
use tidegate_proto::id::{EVERYBODYS, UserId};
use tidegate_proto::v1::{Code, ContentType, Msg, MsgType};

use super::wire::Message;
use crate::store::{Bounds, Page, PageEntry};

/// Who sends what the service takes: it has names, not users.
pub(super) fn sender() -> UserId {
    UserId::new(SENDER).expect("it is of the form of an id")
}

/// As subscribers of the channel get it.
pub(super) fn msg(message: &Message) -> Msg {
    Msg {
        channel: EVERYBODYS.to_owned(),
        msg_type: MsgType::Channel.into(),
        content_type: ContentType::Text.into(),
        content: message.content.clone().into(),
        nickname: message.speakername.clone(),
        said_at: message.time.clone(),
        ..Msg::default()
    }
}

/// The message with that number, in the page that begins with it.
///
/// Errors: NOT_FOUND, and why.
pub(super) fn numbered(number: u64, page: Page) -> Result<Message, Refusal> {
    let Bounds { head, floor } = page.bounds;
    let not_found = |why: String| Err(Refusal::new(Code::NotFound, why));
    if number > head {
        return not_found(format!("message {number} is not there yet: the last one is {head}"));
    }
    match page.entries.into_iter().find(|(seq, _)| *seq == number) {
        Some((_, PageEntry::Msg(body))) => Ok(message(number, body.msg(0))),
        Some((_, PageEntry::Gone)) => not_found(format!("message {number} has expired or was deleted")),
        None => not_found(format!("message {number} is not kept any more: the first one is {floor}")),
    }
}

/// What the service itself has sent comes back as it was sent; what others have, as well as it can be said in its words.
fn message(number: u64, msg: Msg) -> Message {
    let (mut speakername, mut time) = (msg.nickname, msg.said_at);
    if msg.send_id != SENDER {
        let absent = |text: &str| text.is_empty();
        speakername = Some(speakername).filter(|name| !absent(name)).unwrap_or(msg.send_id);
        time = Some(time).filter(|time| !absent(time)).unwrap_or_else(|| readable(msg.send_time));
    }
    let content = String::from_utf8_lossy(&msg.content).into_owned();
    Message { id: number.cast_signed(), speakername, content, time }
}

/// ms since 1970, as RFC 3339 has it.
fn readable(ms: i64) -> String {
    let since = u64::try_from(ms).ok().filter(|&ms| ms < LAST_TIME_MS).map(Duration::from_millis);
    since.map_or_else(
        || ms.to_string(),
        |since| humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string(),
    )
}

/// A part of the system, so that no user's name is taken.
const SENDER: &str = "@chat";
/// The end of the year 9999, as far as RFC 3339 goes.
const LAST_TIME_MS: u64 = 253_402_300_800_000;

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::body::Body;

    fn page(entries: Vec<(u64, PageEntry)>) -> Page {
        Page { entries, bounds: Bounds { head: 9, floor: 3 }, more: false }
    }

    fn of(number: u64, msg: &Msg) -> Result<Message, Refusal> {
        let body = Body::from_stored(&msg.encode_to_vec(), number).unwrap();
        numbered(number, page(vec![(number, PageEntry::Msg(body))]))
    }

    #[test]
    fn what_the_service_takes_comes_back_as_it_was() {
        for (speakername, time) in [("Zoë Müller", "10 past 9"), ("", "")] {
            let said = Message {
                id: 0,
                speakername: speakername.into(),
                content: "hi, «all»".into(),
                time: time.into(),
            };
            let stored = Msg { send_id: sender().as_str().into(), send_time: 5, ..msg(&said) };
            assert_eq!(of(4, &stored).unwrap(), Message { id: 4, ..said });
        }
    }

    #[test]
    fn what_others_send_is_said_in_its_words() {
        let msg = Msg {
            send_id: "alice".into(),
            content: "hi".into(),
            send_time: 1_700_000_000_123,
            ..Msg::default()
        };
        let said = of(4, &msg).unwrap();
        let expected = ("alice", "hi", "2023-11-14T22:13:20.123Z");
        assert_eq!((&*said.speakername, &*said.content, &*said.time), expected);
        let named = Msg { nickname: "The desk".into(), said_at: "noon".into(), ..msg.clone() };
        let said = of(4, &named).unwrap();
        assert_eq!((&*said.speakername, &*said.time), ("The desk", "noon"));
        let binary = Msg { content: vec![b'a', 0xff].into(), ..msg };
        assert_eq!(of(4, &binary).unwrap().content, "a\u{fffd}");
        assert_eq!((readable(-1), readable(i64::MAX)), ("-1".to_owned(), i64::MAX.to_string()));
    }

    #[test]
    fn what_is_not_there_says_why() {
        for (number, entries, why) in [
            (10, vec![], "message 10 is not there yet: the last one is 9"),
            (2, vec![(3, PageEntry::Gone)], "message 2 is not kept any more: the first one is 3"),
            (5, vec![(5, PageEntry::Gone)], "message 5 has expired or was deleted"),
        ] {
            let refusal = numbered(number, page(entries)).unwrap_err();
            assert_eq!((refusal.code, &*refusal.message), (Code::NotFound, why));
        }
    }
}
