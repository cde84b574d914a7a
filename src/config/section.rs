//! How a section of the configuration is declared: fields, defaults and the names of its keys in one place.

use std::ops::RangeInclusive;

/// Declares a section: a struct that serde reads with defaults, and the list of its keys.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        }

        impl $name {
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(super) use section;

/// A value that has the right type and is wrong all the same.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// The setting's dotted name.
    pub(crate) key: &'static str,
    /// What is wrong with it and what to do. Never a secret's content.
    pub(crate) problem: anyhow::Error,
}

impl Invalid {
    /// What is wrong with `key`.
    pub(crate) fn new(key: &'static str, problem: impl Into<anyhow::Error>) -> Self {
        Self { key, problem: problem.into() }
    }

    /// The problem with its setting, where nobody knows the place.
    pub(crate) fn into_error(self) -> anyhow::Error {
        self.problem.context(self.key)
    }
}

/// Whether a number is one that makes sense.
pub(super) fn in_range(key: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<(), Invalid> {
    if range.contains(&value) {
        return Ok(());
    }
    let (min, max) = (range.start(), range.end());
    Err(Invalid::new(key, anyhow::anyhow!("{value} is out of range, it must be {min} to {max}")))
}
