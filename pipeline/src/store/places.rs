//! Where a message's entries stand, as a column keeps it: (timeline, seq) pairs of varints, the conversation first, then
//! each inbox in the order of the record's recipients. Pure.

use prost::encoding::{decode_varint, encode_varint};

use crate::store::StoreError;

/// The pairs as bytes.
pub(super) fn encode(pairs: impl Iterator<Item = (i64, u64)>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24);
    for (timeline, seq) in pairs {
        encode_varint(timeline.cast_unsigned(), &mut bytes);
        encode_varint(seq, &mut bytes);
    }
    bytes
}

/// The pairs in `bytes`; `None` if that is not what `encode` makes.
pub(super) fn decode(mut bytes: &[u8]) -> Option<Vec<(i64, u64)>> {
    let mut pairs = Vec::new();
    while !bytes.is_empty() {
        let timeline = decode_varint(&mut bytes).ok()?.cast_signed();
        pairs.push((timeline, decode_varint(&mut bytes).ok()?));
    }
    Some(pairs)
}

/// The pairs in `bytes`, which must be some.
pub(super) fn required(bytes: &[u8]) -> Result<Vec<(i64, u64)>, StoreError> {
    decode(bytes).ok_or_else(|| StoreError::Damaged("the places of a message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        for pairs in [vec![], vec![(1, 1)], vec![(1, 300), (i64::MAX, u64::MAX), (0, 7)]] {
            let bytes = encode(pairs.iter().copied());
            assert_eq!(decode(&bytes), Some(pairs));
        }
        assert_eq!(decode(&[1]), None);
        assert_eq!(decode(&[0xff; 11]), None);
        assert!(matches!(required(&[1]), Err(StoreError::Damaged(_))));
    }
}
