//! A setting that is a list: one string, or a list of strings, each of one form.

use std::fmt::Display;
use std::ops::Deref;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Strings of the form `T`. In TOML a single one needs no brackets.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct List<T>(Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self(items)
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T> Deserialize<'de> for List<T>
where
    T: FromStr<Err: Display>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = match toml::Value::deserialize(deserializer)? {
            toml::Value::Array(items) => items,
            one => vec![one],
        };
        let parse = |item: toml::Value| match item {
            toml::Value::String(text) => text.parse().map_err(D::Error::custom),
            // Without the value, which may be a secret.
            _ => Err(D::Error::custom("expected a string or a list of strings")),
        };
        items.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}
