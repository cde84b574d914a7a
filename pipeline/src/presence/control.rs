//! What a gateway is told by others: a word that concerns a session it holds. Lost words are healed by the comparison of
//! a gateway's sessions with presence. Pure.

/// A word on a gateway's control channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The device of this session has a newer one elsewhere: it is closed REPLACED.
    Displaced {
        /// The gateway's incarnation then; another one has nothing to do with it.
        incarnation: u64,
        /// The session.
        session: u64,
    },
    /// An operator wants this session closed KICKED.
    Kicked {
        /// The gateway's incarnation then; another one has nothing to do with it.
        incarnation: u64,
        /// The session.
        session: u64,
    },
}

impl Control {
    pub(super) fn encode(self) -> String {
        match self {
            Self::Displaced { incarnation, session } => format!("displaced|{incarnation}|{session}"),
            Self::Kicked { incarnation, session } => format!("kicked|{incarnation}|{session}"),
        }
    }

    /// The word of a text; `None` for one that nobody of us, or a later version, wrote.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split('|');
        let (what, incarnation, session) = (parts.next()?, parts.next()?, parts.next()?);
        let (incarnation, session) = (incarnation.parse().ok()?, session.parse().ok()?);
        match what {
            _ if parts.next().is_some() => None,
            "displaced" => Some(Self::Displaced { incarnation, session }),
            "kicked" => Some(Self::Kicked { incarnation, session }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_back_and_others_are_none() {
        let (incarnation, session) = (u64::MAX, 3);
        for word in [Control::Displaced { incarnation, session }, Control::Kicked { incarnation, session }] {
            assert_eq!(Control::decode(&word.encode()), Some(word));
        }
        for text in ["", "displaced", "displaced|1", "displaced|1|x", "displaced|1|2|3", "else|1|2"] {
            assert_eq!(Control::decode(text), None, "{text}");
        }
    }
}
