//! A oneof in JSON: at most one of its members, flattened into the message that has it.
//!
//! serde's own flattening takes the first member it finds, leaves out the others, and takes a member that is wrong for
//! one that is not there.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// The member that is there; `None` when none is, or null.
pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_map(MessageVisitor(PhantomData))
}

struct MessageVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MessageVisitor<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<T>, A::Error> {
        let members = members_of::<T>();
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let Some(name) = members.iter().find(|name| **name == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let mut is_null = false;
            let member = Member { name: Some(name), map: &mut map, is_null: &mut is_null };
            match T::deserialize(MapAccessDeserializer::new(member)) {
                _ if is_null => {}
                Ok(_) if found.is_some() => {
                    return Err(de::Error::custom(format!(
                        "{name}: another one of {} is set",
                        list(members)
                    )));
                }
                Ok(member) => found = Some(member),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn list(members: &[&str]) -> String {
    members.join(", ")
}

/// A map of one entry, whose value may be null.
struct Member<'a, A> {
    name: Option<&'static str>,
    map: &'a mut A,
    is_null: &'a mut bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Member<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.name.take().map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let value = self.map.next_value_seed(OrNull(seed))?;
        *self.is_null = value.is_none();
        value.ok_or_else(|| de::Error::custom("null"))
    }
}

struct OrNull<V>(V);

impl<'de, V: DeserializeSeed<'de>> DeserializeSeed<'de> for OrNull<V> {
    type Value = Option<V::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, V: DeserializeSeed<'de>> Visitor<'de> for OrNull<V> {
    type Value = Option<V::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// The names of the members of a oneof, as its type tells them to whoever deserializes it.
fn members_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut members = &[][..];
    // It ends in the error that it is made for.
    let _ = T::deserialize(Names(&mut members));
    members
}

struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("no oneof"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(de::Error::custom("only the names were asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use crate::v1::{ClientFrame, Pull, Start, client_frame, pull, start};

    #[test]
    fn one_member_or_none() {
        let frame = |text: &str| serde_json::from_str::<ClientFrame>(text).unwrap().kind;
        assert!(matches!(frame(r#"{"ping":{},"id":3,"later":[1]}"#), Some(client_frame::Kind::Ping(_))));
        assert!(matches!(frame(r#"{"hello":null,"ping":{}}"#), Some(client_frame::Kind::Ping(_))));
        for text in ["{}", r#"{"id":3}"#, r#"{"later":{}}"#, r#"{"ping":null}"#] {
            assert_eq!(frame(text), None, "{text}");
        }
        let start = |text: &str| serde_json::from_str::<Start>(text).unwrap().from;
        assert_eq!(start(r#"{"position":null,"head":true}"#), Some(start::From::Head(true)));
        let pull = |text: &str| serde_json::from_str::<Pull>(text).unwrap().from;
        assert_eq!(pull(r#"{"before":"7","limit":3}"#), Some(pull::From::Before(7)));
    }

    #[test]
    fn two_members_and_a_wrong_one_are_errors() {
        for (text, part) in [
            (r#"{"ping":{},"bye":{}}"#, "another one of hello, "),
            (r#"{"ping":{},"ping":{}}"#, "another one of"),
            (r#"{"pull":{"after":5,"before":3}}"#, "before: another one of after, before is set"),
            (r#"{"pull":{"after":"x"}}"#, "an integer in range"),
            (r#"{"ping":7}"#, "invalid type: integer `7`"),
            (r#"{"send":{"msg":{"create_time":1.5}}}"#, "an integer in range"),
        ] {
            let error = serde_json::from_str::<ClientFrame>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
