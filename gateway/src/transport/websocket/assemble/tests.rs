//! Frames written by hand, whole and cut, against what RFC 6455 says of them.

use proptest::prelude::*;

use super::*;

/// A client's frame: the first byte as given, the payload masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Everything in `wire`, or the fault with which it ends.
fn read(wire: &[u8], cut: usize) -> Result<Vec<Incoming>, Fault> {
    let mut assembler = Assembler::new(MAX);
    let (mut input, mut all) = (BytesMut::new(), Vec::new());
    for piece in wire.chunks(cut) {
        input.extend_from_slice(piece);
        while let Some(incoming) = assembler.next(&mut input)? {
            all.push(incoming);
        }
    }
    Ok(all)
}

/// What a faulty wire fails with, however it is cut.
fn fault(wire: &[u8]) -> u16 {
    let faults =
        [1, 2, wire.len()].map(|cut| read(wire, cut).expect_err("the wire is at fault").close_code());
    assert!(faults.iter().all(|fault| *fault == faults[0]), "{faults:?}");
    faults[0]
}

const MAX: usize = 1 << 17;

#[test]
fn whole_messages_of_every_length_form() {
    for len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, MAX] {
        let payload = vec![b'x'; len];
        let expected = Ok(vec![Incoming::Binary(payload[..].into())]);
        assert_eq!(read(&frame(0x82, &payload), 1000), expected, "{len}");
    }
}

#[test]
fn fragments_with_control_frames_between() {
    let wire = [
        frame(0x01, "né".as_bytes().split_at(2).0),
        frame(0x89, b"ping"),
        frame(0x00, &"né".as_bytes()[2..]),
        frame(0x8a, b""),
        frame(0x80, b"!"),
        frame(0x88, b"\x03\xe8bye"),
    ]
    .concat();
    for cut in [1, 3, 1000] {
        let expected = vec![
            Incoming::Ping(b"ping"[..].into()),
            Incoming::Pong(BytesMut::new()),
            Incoming::Text("né!".as_bytes().into()),
            Incoming::Close(Some(1000)),
        ];
        assert_eq!(read(&wire, cut), Ok(expected), "cut into {cut}");
    }
}

#[test]
fn what_breaks_the_framing_is_1002() {
    for (what, wire) in [
        ("unmasked", b"\x82\x01x".to_vec()),
        ("RSV1, as permessage-deflate has it", frame(0xc2, b"x")),
        ("RSV2", frame(0xa2, b"x")),
        ("RSV3", frame(0x92, b"x")),
        ("opcode 3", frame(0x83, b"x")),
        ("opcode 7", frame(0x87, b"x")),
        ("opcode 11", frame(0x8b, b"x")),
        ("opcode 15", frame(0x8f, b"x")),
        ("a fragmented ping", frame(0x09, b"x")),
        ("a fragmented close", frame(0x08, b"")),
        ("a ping of 126 bytes", frame(0x89, &[b'x'; 126])),
        ("a close of 126 bytes", frame(0x88, &[3; 126])),
        ("a continuation of nothing", frame(0x80, b"x")),
        ("a message inside another", [frame(0x02, b"x"), frame(0x82, b"y")].concat()),
        ("a close of one byte", frame(0x88, b"\x03")),
        ("close code 999", frame(0x88, &999u16.to_be_bytes())),
        ("close code 1004", frame(0x88, &1004u16.to_be_bytes())),
        ("close code 1005", frame(0x88, &1005u16.to_be_bytes())),
        ("close code 1006", frame(0x88, &1006u16.to_be_bytes())),
        ("close code 1015", frame(0x88, &1015u16.to_be_bytes())),
        ("close code 2999", frame(0x88, &2999u16.to_be_bytes())),
        ("close code 5000", frame(0x88, &5000u16.to_be_bytes())),
        ("125 in the form for 16 bits", b"\x82\xfe\x00\x7d".to_vec()),
        ("65535 in the form for 64 bits", b"\x82\xff\0\0\0\0\0\0\xff\xff".to_vec()),
    ] {
        assert_eq!(fault(&wire), 1002, "{what}");
    }
}

#[test]
fn what_is_no_utf8_is_1007_as_soon_as_it_is_seen() {
    assert_eq!(fault(&frame(0x81, b"\xff")), 1007);
    assert_eq!(fault(&frame(0x81, b"cut \xc3")), 1007);
    assert_eq!(fault(&frame(0x81, b"\xed\xa0\x80")), 1007, "a surrogate");
    // The message goes on, but no more of it is waited for.
    assert_eq!(fault(&frame(0x01, b"\xc3\x28")), 1007);
    assert_eq!(fault(&[frame(0x01, b"\xc3"), frame(0x80, b"\x28")].concat()), 1007);
    assert_eq!(fault(&frame(0x88, b"\x03\xe8\xff")), 1007);
}

#[test]
fn what_is_too_long_is_1009_before_it_comes() {
    let too_long = |length: u64| [&b"\x82\xff"[..], &length.to_be_bytes()].concat();
    for length in [MAX as u64 + 1, 1 << 32, 1 << 63, u64::MAX] {
        assert_eq!(fault(&too_long(length)), 1009, "{length}");
    }
    let mut rest = frame(0x80, &vec![b'x'; 200]);
    rest.truncate(4);
    assert_eq!(fault(&[frame(0x02, &vec![b'x'; MAX - 100]), rest].concat()), 1009);
    // Nothing is reserved for what is only announced.
    let (mut assembler, mut input) = (Assembler::new(MAX), BytesMut::from(&too_long(MAX as u64)[..]));
    assert_eq!(assembler.next(&mut input), Ok(None));
    assert!(input.capacity() < 1000);
}

#[test]
fn a_smaller_limit_holds_until_it_is_raised() {
    let mut assembler = Assembler::new(10);
    let mut input = BytesMut::from(&frame(0x82, &[0; 11])[..]);
    assert_eq!(assembler.next(&mut input), Err(Fault::TooLarge { length: 11, max: 10 }));
    assembler.set_max_message_bytes(11);
    assert!(assembler.next(&mut input).unwrap().is_some());
}

proptest! {
    #[test]
    fn messages_survive_fragments_and_cuts(
        messages in prop::collection::vec((any::<bool>(), prop::collection::vec(".{0,60}", 1..5)), 1..8),
        cut in 1usize..40,
    ) {
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        for (text, parts) in &messages {
            for (index, part) in parts.iter().enumerate() {
                let opcode = if index > 0 { 0 } else if *text { 1 } else { 2 };
                let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
                wire.extend(frame(fin | opcode, part.as_bytes()));
                wire.extend(frame(0x8a, b"between"));
                if fin == 0 || index + 1 < parts.len() {
                    expected.push(Incoming::Pong(b"between"[..].into()));
                }
            }
            let whole = BytesMut::from(parts.concat().as_bytes());
            expected.push(if *text { Incoming::Text(whole) } else { Incoming::Binary(whole) });
            expected.push(Incoming::Pong(b"between"[..].into()));
        }
        prop_assert_eq!(read(&wire, cut).unwrap(), expected);
    }

    #[test]
    fn any_bytes_end_in_messages_a_fault_or_waiting(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..20) {
        if let Ok(all) = read(&bytes, cut) {
            let read: usize = all.iter().map(|incoming| match incoming {
                Incoming::Text(b) | Incoming::Binary(b) | Incoming::Ping(b) | Incoming::Pong(b) => b.len(),
                Incoming::Close(_) => 0,
            }).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
