//! Interest: that a gateway has subscribers of a channel. Pure.

use std::sync::Arc;

use smallvec::SmallVec;

/// A gateway that has subscribers of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// The gateway's id.
    pub gateway: Arc<str>,
    /// The gateway's incarnation; the interest counts only while the gateway's lease says the same.
    pub incarnation: u64,
    /// How many subscribers it had when it said so.
    pub subscribers: u64,
}

/// The gateways with subscribers of one channel.
pub type Interests = SmallVec<[Interest; 2]>;

impl Interest {
    /// The text kept in presence: `incarnation|subscribers`.
    pub(super) fn encode(&self) -> String {
        format!("{}|{}", self.incarnation, self.subscribers)
    }

    /// The interest of a text; `None` for one that nobody of us wrote.
    pub(super) fn decode(gateway: &str, text: &str) -> Option<Self> {
        let (incarnation, subscribers) = text.split_once('|')?;
        Some(Self {
            gateway: gateway.into(),
            incarnation: incarnation.parse().ok()?,
            subscribers: subscribers.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interest_comes_back_and_others_text_does_not() {
        let interest = Interest { gateway: "gateway-1".into(), incarnation: u64::MAX, subscribers: 3 };
        assert_eq!(Interest::decode("gateway-1", &interest.encode()), Some(interest));
        for text in ["", "1", "1|", "|1", "1|x", "-1|1", "1|1|1"] {
            assert_eq!(Interest::decode("gateway-1", text), None, "{text}");
        }
    }
}
