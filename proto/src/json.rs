//! The JSON mapping of the frames: proto3 JSON with the field names of the .proto, 64-bit integers as numbers (strings
//! accepted), and `content` as text when it is valid UTF-8, otherwise `content_base64` (docs/PROTOCOL.md
//! "WebSocket, JSON").
//!
//! The generated types derive serde; these functions are the attributes that `build.rs` gives their fields.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// An integer as a JSON number, a string of digits, or null for 0.
pub(crate) fn integer<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr + TryFrom<i64> + Default,
{
    deserializer.deserialize_any(IntegerVisitor(PhantomData))
}

/// An integer that may be absent.
pub(crate) fn optional_integer<'de, D>(deserializer: D) -> Result<Option<i64>, D::Error>
where
    D: Deserializer<'de>,
{
    integer(deserializer).map(Some)
}

/// A value, or its default for null.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

struct IntegerVisitor<T>(PhantomData<T>);

impl<T: FromStr + TryFrom<i64> + Default> Visitor<'_> for IntegerVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer in range, as a number or a string")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::try_from(value).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        let signed = i64::try_from(value).ok().and_then(|value| T::try_from(value).ok());
        signed.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        // 1e3 and 1.0 are integers too; beyond 2^53 a float is not exact.
        let exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        let integer = exact.then(|| T::try_from(value as i64).ok()).flatten();
        integer.ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        value.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

/// Bytes as `content` or `content_base64`, flattened into the message that has them.
pub(crate) mod content {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::{SerializeMap as _, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match std::str::from_utf8(bytes) {
            Ok(text) => map.serialize_entry("content", text)?,
            Err(_) => map.serialize_entry("content_base64", &STANDARD.encode(bytes))?,
        }
        map.end()
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        match (fields.content, fields.content_base64) {
            (Some(_), Some(_)) => Err(D::Error::custom("content and content_base64 are both set")),
            (Some(text), None) => Ok(text.into()),
            (None, Some(base64)) => STANDARD.decode(base64).map(Bytes::from).map_err(D::Error::custom),
            (None, None) => Ok(Bytes::new()),
        }
    }

    #[derive(serde::Deserialize)]
    struct Fields {
        content: Option<String>,
        content_base64: Option<String>,
    }
}

/// Enums as their names; read as names or numbers.
macro_rules! enumeration {
    ($module:ident, $type:ty) => {
        pub(crate) mod $module {
            use serde::de::{Deserialize, Deserializer, Error as _};
            use serde::ser::Serializer;

            pub(crate) fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
                match <$type>::try_from(*value) {
                    Ok(known) => serializer.serialize_str(known.as_str_name()),
                    Err(_) => serializer.serialize_i32(*value),
                }
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
                match super::NameOrNumber::deserialize(deserializer)? {
                    super::NameOrNumber::Number(number) => Ok(number),
                    super::NameOrNumber::Name(name) => <$type>::from_str_name(&name)
                        .map(|known| known as i32)
                        .ok_or_else(|| D::Error::custom(format!("{name} is not a name of this enum"))),
                }
            }
        }
    };
}

enumeration!(code, crate::v1::Code);
enumeration!(close_code, crate::v1::CloseCode);
enumeration!(receipt_status, crate::v1::ReceiptStatus);

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum NameOrNumber {
    Number(i32),
    Name(String),
}

#[cfg(test)]
mod tests {
    use crate::v1::{
        ClientFrame, Code, Msg, Receipt, ReceiptStatus, ServerFrame, client_frame, server_frame, start,
    };

    fn parse(text: &str) -> Result<ClientFrame, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_hand_written_message_of_the_plain_mode() {
        let text = r#"{"send_id":"123","receiver_id":"124","local_id":"","server_id":"","create_time":0,"send_time":0,
            "seq":0,"msg_type":0,"content_type":0,"content":"hello world","is_read":false}"#;
        let msg: Msg = serde_json::from_str(text).unwrap();
        assert_eq!(
            msg,
            Msg {
                send_id: "123".into(),
                receiver_id: "124".into(),
                content: "hello world".into(),
                ..Msg::default()
            }
        );
    }

    #[test]
    fn integers_as_numbers_strings_and_null() {
        for text in [r#"{"create_time":7}"#, r#"{"create_time":"7"}"#, r#"{"create_time":7.0,"seq":null}"#] {
            assert_eq!(serde_json::from_str::<Msg>(text).unwrap().create_time, 7, "{text}");
        }
        for text in [
            r#"{"create_time":7.5}"#,
            r#"{"create_time":"x"}"#,
            r#"{"create_time":18446744073709551615}"#,
            r#"{"msg_type":4294967296}"#,
        ] {
            assert!(serde_json::from_str::<Msg>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_travel_as_base64() {
        let msg = Msg { content: vec![0xff, 0x00].into(), ..Msg::default() };
        let text = serde_json::to_string(&msg).unwrap();
        assert!(text.contains(r#""content_base64":"/wA=""#), "{text}");
        assert_eq!(serde_json::from_str::<Msg>(&text).unwrap(), msg);
        assert!(serde_json::from_str::<Msg>(r#"{"content":"a","content_base64":"/wA="}"#).is_err());
    }

    #[test]
    fn a_frame_is_an_object_with_its_kind() {
        let frame =
            parse(r#"{"id":3,"hello":{"token":"t","device_id":"d","attempt":"9","start":{"head":true}}}"#)
                .unwrap();
        assert_eq!(frame.id, 3);
        let Some(client_frame::Kind::Hello(hello)) = frame.kind else { panic!("no hello") };
        assert_eq!((hello.attempt, hello.start.unwrap().from), (9, Some(start::From::Head(true))));

        let Some(client_frame::Kind::Pull(pull)) =
            parse(r#"{"pull":{"after":"5","limit":10}}"#).unwrap().kind
        else {
            panic!("no pull")
        };
        assert_eq!((pull.from, pull.limit), (Some(crate::v1::pull::From::After(5)), 10));
        assert_eq!(parse(r#"{"ping":{}}"#).unwrap().kind, Some(client_frame::Kind::Ping(crate::v1::Ping {})));
        assert_eq!(parse(r#"{"id":1}"#).unwrap().kind, None);
    }

    #[test]
    fn what_the_server_says_reads_well() {
        let receipt = Receipt {
            local_id: "1".into(),
            status: ReceiptStatus::Rejected as i32,
            code: Code::Conflict as i32,
            ..Receipt::default()
        };
        let frame = ServerFrame { id: 4, kind: Some(server_frame::Kind::Receipt(receipt)) };
        let text = serde_json::to_string(&frame).unwrap();
        assert!(text.starts_with(r#"{"id":4,"receipt":{"local_id":"1","#), "{text}");
        assert!(text.contains(r#""status":"REJECTED""#) && text.contains(r#""code":"CONFLICT""#), "{text}");
        assert_eq!(serde_json::from_str::<ServerFrame>(&text).unwrap(), frame);
    }
}
