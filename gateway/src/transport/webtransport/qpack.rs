//! A look over a QPACK field section before it is decoded: the decoder in use trusts its integers. Pure; RFC 9204.

/// Whether every integer and every string of the section is within the section. One that needs the dynamic table, which
/// we do not offer, is not.
pub(super) fn is_bounded(section: &[u8]) -> bool {
    walk(section).is_some()
}

fn walk(section: &[u8]) -> Option<()> {
    let rest = skip_integer(section, 8)?.1;
    let mut rest = skip_integer(rest, 7)?.1;
    while let Some(first) = rest.first() {
        rest = match first {
            // Indexed, static: 1 1 index(6).
            0b1100_0000.. => skip_integer(rest, 6)?.1,
            // A name of the static table: 0 1 N 1 index(4), value.
            0b0101_0000..=0b0101_1111 | 0b0111_0000..=0b0111_1111 => {
                skip_string(skip_integer(rest, 4)?.1, 7)?
            }
            // A literal name: 0 0 1 N H length(3), value.
            0b0010_0000..=0b0011_1111 => skip_string(skip_string(rest, 3)?, 7)?,
            _ => return None,
        };
    }
    Some(())
}

fn skip_string(bytes: &[u8], prefix_bits: u32) -> Option<&[u8]> {
    let (length, rest) = skip_integer(bytes, prefix_bits)?;
    rest.get(length..)
}

/// An integer (RFC 7541, section 5.1) of at most three further bytes, which is more than any section is long.
fn skip_integer(bytes: &[u8], prefix_bits: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mask = (1usize << prefix_bits) - 1;
    let mut value = usize::from(*first) & mask;
    if value < mask {
        return Some((value, rest));
    }
    for shift in [0, 7, 14] {
        let (byte, after) = rest.split_first()?;
        rest = after;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wtransport_proto::qpack::{Decoder, Encoder};

    #[test]
    fn an_integer_without_an_end_is_refused() {
        assert!(!is_bounded(&[0, 0, 0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]));
        assert!(!is_bounded(&[0, 0, 0xff, 0x80, 0x80, 0x80, 0x00]));
        assert!(is_bounded(&[0, 0, 0xff, 0x80, 0x80, 0x00]));
        assert!(!is_bounded(&[0, 0, 0x5f, 0xff]));
        assert!(!is_bounded(&[0, 0, 0x2f, 0xff, 0x7f]));
        assert!(!is_bounded(&[]));
        assert!(!is_bounded(&[0]));
        assert!(is_bounded(&[0, 0]));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_bounded(fields in prop::collection::vec(("[a-z:-]{1,200}", ".{0,300}"), 0..20)) {
            prop_assert!(is_bounded(&Encoder::encode(fields)));
        }

        #[test]
        fn what_is_bounded_does_not_panic_the_decoder(section in prop::collection::vec(any::<u8>(), 0..300)) {
            if is_bounded(&section) {
                let _ = Decoder::decode(&section);
            }
        }

        #[test]
        fn nor_does_a_damaged_request(at in 0usize..60, byte in any::<u8>()) {
            let mut section = Encoder::encode([(":method", "CONNECT"), (":path", "/wt?token=abcdefgh"), ("origin", "https://a.example")]);
            let at = at % section.len();
            section[at] = byte;
            if is_bounded(&section) {
                let _ = Decoder::decode(&section);
            }
        }
    }
}
