//! Patterns of channel names (docs/PROTOCOL.md "Tokens", docs/OPERATIONS.md "Channels").
//!
//! A name is segments between `/`. `*` stands for any text within one segment, `**` as the last segment for all the
//! rest. A name that begins with `@` is one of the system's: only a pattern that begins with `@` matches it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::ChannelName;
use crate::limits::MAX_CHANNEL_BYTES;

/// A pattern of channel names: 1 to 128 bytes of those of a channel name and `*`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Empty, too long, or with a byte that no channel name has.
    #[error("a pattern is 1 to {MAX_CHANNEL_BYTES} bytes of A-Z a-z 0-9 . _ @ + - / and *")]
    Form,
    /// `**` beside something else, or not at the end.
    #[error("`**` stands alone as the last segment (news/**); within a segment write one `*`")]
    Rest,
}

impl Pattern {
    /// The pattern in `text`.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let is_wild = |byte: &u8| *byte == b'*';
        let plain: Vec<u8> = text.bytes().filter(|byte| !is_wild(byte)).collect();
        let plain = std::str::from_utf8(&plain).map_err(|_| PatternError::Form)?;
        if text.is_empty() || text.len() > MAX_CHANNEL_BYTES {
            return Err(PatternError::Form);
        }
        if !plain.is_empty() && ChannelName::new(plain).is_err() {
            return Err(PatternError::Form);
        }
        let before_rest = text.strip_suffix(REST).unwrap_or(text);
        let is_segment =
            before_rest.len() == text.len() || before_rest.is_empty() || before_rest.ends_with('/');
        if before_rest.contains(REST) || !is_segment {
            return Err(PatternError::Rest);
        }
        Ok(Self(text.into()))
    }

    /// Whether it matches a name.
    pub fn matches(&self, channel: &ChannelName) -> bool {
        let (pattern, name) = (&*self.0, channel.as_str());
        if name.starts_with(SYSTEM) && !pattern.starts_with(SYSTEM) {
            return false;
        }
        match pattern.strip_suffix(REST) {
            Some(before) => {
                let segments = before.matches('/').count();
                match name.match_indices('/').nth(segments.wrapping_sub(1)) {
                    _ if segments == 0 => true,
                    Some((slash, _)) => all_match(before, &name[..=slash]),
                    None => false,
                }
            }
            None => all_match(pattern, name),
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether each segment matches the one in its place.
fn all_match(pattern: &str, name: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), name.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if one_matches(pattern, name) => {}
            _ => return false,
        }
    }
}

/// Whether a segment matches: each piece between two stars at the first place it is found after the one before.
fn one_matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = name.strip_prefix(first).and_then(|name| name.strip_suffix(last));
    let Some(mut inner) = inner else { return false };
    for piece in middle.split('*') {
        match inner.find(piece) {
            Some(place) => inner = &inner[place + piece.len()..],
            None => return false,
        }
    }
    true
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::new(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const REST: &str = "**";
const SYSTEM: char = '@';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(&ChannelName::new(name).unwrap())
    }

    #[test]
    fn what_matches_what() {
        for (pattern, names, others) in [
            ("news", &["news"][..], &["new", "news/", "news/sport", "News"][..]),
            ("news/*", &["news/sport", "news/"], &["news", "news/sport/live", "newsx/a"]),
            ("news/**", &["news/sport", "news/sport/live", "news/"], &["news", "newsx/a", "a/news/b"]),
            ("*/live", &["news/live", "/live"], &["live", "a/b/live", "news/live/1"]),
            ("room-*", &["room-", "room-1", "room-1-2"], &["room", "room-1/a", "a-room-1"]),
            ("*", &["a", "room-1"], &["a/b", "@all", "@x"]),
            ("**", &["a", "a/b/c", "/", "x@y"], &["@all", "@a/b"]),
            ("a*b*c", &["abc", "aXbYc", "abbcc", "abcbc"], &["ab", "abcx", "ac", "acb"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("*/b/**", &["a/b/c", "/b/", "a/b/c/d"], &["a/b", "a/c/b/d", "b/c"]),
            ("@all", &["@all"], &["all", "@al"]),
            ("@*", &["@all", "@x"], &["a", "@x/y"]),
            ("@chat/**", &["@chat/1"], &["chat/1", "@chat"]),
        ] {
            for name in names {
                assert!(matches(pattern, name), "{pattern} does not match {name}");
            }
            for name in others {
                assert!(!matches(pattern, name), "{pattern} matches {name}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern() {
        for text in ["", "a b", "é", "a\0", "a:b", "?", &"x".repeat(129)] {
            assert_eq!(Pattern::new(text), Err(PatternError::Form), "{text:?}");
        }
        for text in ["***", "a**", "**/a", "a/**/b", "**/**", "a/x**"] {
            assert_eq!(Pattern::new(text), Err(PatternError::Rest), "{text:?}");
        }
        assert!(Pattern::new(&"x".repeat(128)).is_ok());
    }

    /// Tries everything that each star may stand for.
    fn model(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            b"**" => true,
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len())
                .take_while(|end| !name[..*end].contains(&b'/'))
                .any(|end| model(rest, &name[end..])),
            [byte, rest @ ..] => name.first() == Some(byte) && model(rest, &name[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn it_agrees_with_trying_everything(pattern in "[ab*/]{1,7}", name in "[ab/]{1,8}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let name = ChannelName::new(&name).unwrap();
                prop_assert_eq!(pattern.matches(&name), model(pattern.as_str().as_bytes(), name.as_str().as_bytes()));
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,140}") {
            let _ = Pattern::new(&text);
        }
    }
}
