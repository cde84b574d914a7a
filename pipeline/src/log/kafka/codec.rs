//! A record as bytes, and back; pure. Whatever the bytes are, decoding ends with a record or with a reason.

use std::sync::Arc;

use prost::Message as _;

use super::v1;
use crate::record::{self, Record};

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// A newer program wrote it, in that version.
    Newer(u32),
    /// It is no record; why.
    Damaged(String),
}

/// The bytes of a record.
pub(super) fn encode(record: Record) -> Vec<u8> {
    let origin = record.origin.map(|origin| v1::Origin {
        gateway: origin.gateway.as_ref().to_owned(),
        incarnation: origin.incarnation,
        session: origin.session,
    });
    v1::Record { mark: MARK, version: VERSION, msg: record.encoded, origin }.encode_to_vec()
}

/// The record in the bytes; its trace stands beside them.
///
/// What a record has beyond its message (ids, hash, target) is computed again by the checks it once passed: a
/// microsecond for a short message, where the store takes some hundred.
pub(super) fn decode(value: &[u8], traceparent: Option<Box<str>>) -> Result<Record, Undecodable> {
    let beginning = Beginning::decode(value).map_err(|error| damaged(&error))?;
    if beginning.mark != MARK {
        return Err(Undecodable::Damaged("it has not the mark of a record".to_owned()));
    }
    match beginning.version {
        VERSION => {}
        0 => return Err(Undecodable::Damaged("it has no version".to_owned())),
        newer => return Err(Undecodable::Newer(newer)),
    }
    let v1::Record { msg, origin, .. } = v1::Record::decode(value).map_err(|error| damaged(&error))?;
    let origin = origin.map(|origin| record::Origin {
        gateway: Arc::from(origin.gateway),
        incarnation: origin.incarnation,
        session: origin.session,
    });
    let record = Record::from_log(msg, origin).map_err(|reason| Undecodable::Damaged(reason.to_string()))?;
    Ok(Record { traceparent, ..record })
}

fn damaged(error: &prost::DecodeError) -> Undecodable {
    Undecodable::Damaged(error.to_string())
}

/// What a record of every version begins with; the rest may mean anything.
#[derive(Clone, PartialEq, prost::Message)]
struct Beginning {
    #[prost(fixed32, tag = "1")]
    mark: u32,
    #[prost(uint32, tag = "2")]
    version: u32,
}

/// "tide".
pub(super) const MARK: u32 = 0x7469_6465;
/// The version that is written and read.
pub(super) const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_proto::id::{LocalId, UserId};
    use tidegate_proto::v1::Msg;

    use super::*;

    fn sample(content: &[u8]) -> Record {
        let msg = Msg {
            receiver_id: "bob".into(),
            content: content.to_vec().into(),
            expire_at: 9,
            ..Msg::default()
        };
        let origin = record::Origin { gateway: "g".into(), incarnation: 1 << 60, session: 3 };
        let (alice, local_id) = (UserId::new("alice").unwrap(), LocalId::new("l").unwrap());
        Record::new(msg, &alice, 5, || local_id, Some(origin)).unwrap()
    }

    fn reason(value: &[u8]) -> String {
        match decode(value, None) {
            Err(Undecodable::Damaged(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        let record = Record { traceparent: Some("00-1-2-01".into()), ..sample(b"hello") };
        let back = decode(&encode(record.clone()), record.traceparent.clone()).unwrap();
        assert_eq!(back, record);
        let backends = Record { origin: None, ..record };
        assert_eq!(decode(&encode(backends.clone()), backends.traceparent.clone()).unwrap(), backends);
    }

    #[test]
    fn a_newer_record_is_told_from_a_damaged_one() {
        // Its other fields may have any type.
        let newer = [0x0d, 0x65, 0x64, 0x69, 0x74, 0x10, 0x02, 0x18, 0x01];
        assert_eq!(decode(&newer, None), Err(Undecodable::Newer(2)));
        assert!(reason(b"").contains("mark"));
        assert!(reason(&[0x10, 0x02]).contains("mark"));
        assert!(reason(&newer[..5]).contains("version"));
    }

    #[test]
    fn what_no_gateway_would_write_is_damaged() {
        let good = Msg::decode(&sample(b"").encoded[..]).unwrap();
        let written = |msg: Msg| {
            v1::Record { mark: MARK, version: VERSION, msg: msg.encode_to_vec(), origin: None }
                .encode_to_vec()
        };
        assert!(decode(&written(good.clone()), None).is_ok());
        for (msg, word) in [
            (Msg { send_id: String::new(), ..good.clone() }, "user id"),
            (Msg { send_id: "a\0".into(), ..good.clone() }, "user id"),
            (Msg { local_id: String::new(), ..good.clone() }, "local_id"),
            (Msg { receiver_id: "x y".into(), ..good.clone() }, "user id"),
            (Msg { send_time: -1, ..good.clone() }, "send_time"),
            (Msg { server_id: "other".into(), ..good.clone() }, "server_id"),
            (Msg { conversation: "d:a:b".into(), ..good.clone() }, "conversation"),
            (Msg { content: vec![0; 70_000].into(), ..good }, "content"),
        ] {
            assert!(reason(&written(msg)).contains(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, None);
        }

        #[test]
        fn damage_makes_no_panic(place in 0_usize..1_000, to in any::<u8>(), cut in 0_usize..1_000) {
            let mut bytes = encode(sample(b"some content"));
            let place = place % bytes.len();
            bytes[place] = to;
            let _ = decode(&bytes, None);
            bytes.truncate(cut % (bytes.len() + 1));
            let _ = decode(&bytes, None);
        }
    }
}
