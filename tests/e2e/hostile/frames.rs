//! Frames that are none, that are wrong or that come at the wrong time, over each transport.

use bytes::{BufMut as _, BytesMut};
use tidegate_client::Transport;
use tidegate_proto::framing::put_varint;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{
    Ack, CloseCode, Code, Hello, Msg, Ping, Pull, Refresh, Send, Signal, Subscribe, Unsubscribe,
    client_frame, pull, server_frame,
};

use super::watch::{WITH_ADMIN, metric, sessions, sockets, until};
use super::wire::{Wire, framed, hello};
use crate::peer::Peer;
use crate::server::Server;

over_each_transport!(
    what_is_no_frame_ends_the_session_with_its_code,
    a_frame_cut_off_at_any_byte_ends_the_session,
    what_asks_for_nonsense_is_refused_and_the_session_lives,
    before_hello_nothing_else_is_served,
);

fn bytes(length: u64, rest: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    put_varint(&mut out, length);
    out.put_slice(rest);
    out
}

fn whole(frame: &[u8]) -> BytesMut {
    bytes(frame.len() as u64, frame)
}

/// Groups of an unknown field, one in the other.
fn nested(depth: usize) -> BytesMut {
    whole(&[[0xa3, 0x06].repeat(depth), [0xa4, 0x06].repeat(depth)].concat())
}

async fn what_is_no_frame_ends_the_session_with_its_code(transport: Transport) {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let honest = Peer::connect(&server, transport, "honest", "h").await;
    let before = sockets(&server);
    let cases: Vec<(&str, BytesMut, CloseCode)> = vec![
        ("length 0", bytes(0, &[]), CloseCode::ProtocolError),
        ("a byte too many", bytes(MAX_FRAME_BYTES as u64 + 1, &[]), CloseCode::TooLarge),
        ("4 GiB", bytes(u64::from(u32::MAX), &[]), CloseCode::TooLarge),
        ("8 EiB", bytes(1 << 63, &[]), CloseCode::ProtocolError),
        ("an over-long length", [0x81, 0x00, 0x01][..].into(), CloseCode::ProtocolError),
        ("a length without an end", [0xff; 5][..].into(), CloseCode::ProtocolError),
        ("noise", whole(&[0xff, 0xff]), CloseCode::ProtocolError),
        ("a field beyond the end", whole(&[0x1a, 0x7f]), CloseCode::ProtocolError),
        ("field number 0", whole(&[0x00, 0x01]), CloseCode::ProtocolError),
        ("Send as an integer", whole(&[0x18, 0x01]), CloseCode::ProtocolError),
        ("id as a string", whole(&[0x0a, 0x01, 0x78]), CloseCode::ProtocolError),
        ("wire type 6", whole(&[0x7e, 0x01]), CloseCode::ProtocolError),
        ("a string that is no UTF-8", whole(&[0x62, 0x03, 0x0a, 0x01, 0xff]), CloseCode::ProtocolError),
        ("a group that ends another", whole(&[0xa3, 0x06, 0xac, 0x06]), CloseCode::ProtocolError),
        ("nested 101 deep", nested(101), CloseCode::ProtocolError),
        ("nested 18,000 deep", nested(18_000), CloseCode::ProtocolError),
        ("a second Hello", framed(client_frame::Kind::Hello(Hello::default())), CloseCode::ProtocolError),
    ];
    let mut expected = [0, 0];
    for (what, bytes, code) in cases {
        let mut wire = Wire::welcomed(&server, transport, "eve", "e").await;
        wire.write(&bytes).await;
        let (last, closed) = wire.closed().await;
        let Some(server_frame::Kind::Error(error)) = last.and_then(|last| last.kind) else {
            panic!("{what}: no Error")
        };
        assert_eq!((error.close, closed), (code as i32, code as u32), "{what}: {}", error.message);
        assert!(error.message.len() <= 256, "{what}: {}", error.message);
        expected[usize::from(code == CloseCode::TooLarge)] += 1;
    }
    for (code, expected) in ["PROTOCOL_ERROR", "TOO_LARGE"].into_iter().zip(expected) {
        let name = format!("sessions_ended_total{{code=\"{code}\"}}");
        until(async || metric(&server, &name).await == expected).await;
    }
    nothing_is_left(&server, before).await;
    honest.store("honest", "still here").await;
}

async fn a_frame_cut_off_at_any_byte_ends_the_session(transport: Transport) {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let honest = Peer::connect(&server, transport, "honest", "h").await;
    let before = sockets(&server);
    let msg = Msg { receiver_id: "honest".into(), local_id: "l".into(), ..Msg::default() };
    let frame = framed(client_frame::Kind::Send(Send { msg: Some(msg) }));
    for cut in 1..frame.len() {
        // As the last thing that comes, and as all there is of a frame whose length says so.
        let mut wire = Wire::welcomed(&server, transport, "eve", "e").await;
        wire.write(&frame[..cut]).await;
        wire.finish().await;
        wire.closed_somehow().await;
        if cut > 1 {
            let mut wire = Wire::welcomed(&server, transport, "eve", "e").await;
            wire.write(&whole(&frame[1..cut])).await;
            wire.send(client_frame::Kind::Bye(Default::default())).await;
            let (_, code) = wire.closed().await;
            // What is cut between two fields is a frame still, and then Bye is what ends the session.
            let ended = [CloseCode::ProtocolError as u32, CloseCode::Normal as u32];
            assert!(ended.contains(&code), "cut {cut}: {code}");
        }
    }
    nothing_is_left(&server, before).await;
    let stored = honest.store("honest", "still here").await;
    assert_eq!(stored.seq, 1, "something that was cut off was stored");
}

async fn what_asks_for_nonsense_is_refused_and_the_session_lives(transport: Transport) {
    use client_frame::Kind;
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let mut wire = Wire::welcomed(&server, transport, "eve", "e").await;
    for (what, bytes, code) in refused_requests() {
        wire.write(&bytes).await;
        let frame = wire.frame().await.unwrap_or_else(|| panic!("{what}: the session ended"));
        let Some(server_frame::Kind::Error(error)) = frame.kind else { panic!("{what}: {frame:?}") };
        assert_eq!((error.code(), frame.id, error.close), (code, 7, 0), "{what}: {}", error.message);
        assert!(error.message.len() <= 256, "{what}: {}", error.message);
    }
    for (what, msg, code) in refused_messages() {
        wire.send(Kind::Send(Send { msg: Some(msg) })).await;
        let frame = wire.frame().await.unwrap_or_else(|| panic!("{what}: the session ended"));
        let Some(server_frame::Kind::Receipt(receipt)) = frame.kind else { panic!("{what}: {frame:?}") };
        assert_eq!((receipt.code(), frame.id), (code, 7), "{what}: {}", receipt.message);
        assert!(receipt.message.len() <= 256, "{what}: {}", receipt.message);
    }
    wire.send(Kind::Ping(Ping {})).await;
    assert!(matches!(wire.frame().await.unwrap().kind, Some(server_frame::Kind::Pong(_))));
}

async fn before_hello_nothing_else_is_served(transport: Transport) {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let honest = Peer::connect(&server, transport, "honest", "h").await;
    let before = sockets(&server);
    let mut texts = Vec::new();
    for (what, bytes, code) in refused_beginnings(&server) {
        let mut wire = Wire::open(&server, transport).await;
        wire.write(&bytes).await;
        let (last, closed) = wire.closed().await;
        assert_eq!(closed, code as u32, "{what}: {last:?}");
    }
    for token in refused_tokens(&server) {
        let mut wire = Wire::open(&server, transport).await;
        let hello = Hello { token: token.clone(), ..hello(&server, "eve", "e") };
        wire.send(client_frame::Kind::Hello(hello)).await;
        let (last, closed) = wire.closed().await;
        let Some(server_frame::Kind::Error(error)) = last.and_then(|last| last.kind) else {
            panic!("no Error")
        };
        assert_eq!(
            (closed, error.code()),
            (CloseCode::Unauthenticated as u32, Code::Unauthenticated),
            "{token}"
        );
        texts.push(error.message);
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "the same text for all: {texts:?}");
    nothing_is_left(&server, before).await;
    honest.store("honest", "still here").await;
}

/// What is answered with an Error: what it is, a frame, the code.
fn refused_requests() -> Vec<(&'static str, BytesMut, Code)> {
    use client_frame::Kind;
    let from = |from| pull::From::After(from);
    let subscribe = |channel: &str, after| Kind::Subscribe(Subscribe { channel: channel.to_owned(), after });
    let unsubscribe = |channel: &str| Kind::Unsubscribe(Unsubscribe { channel: channel.to_owned() });
    let pull = |timeline: &str, from, limit| Kind::Pull(Pull { timeline: timeline.to_owned(), from, limit });
    let signal = |user: &str, kind: usize, content: usize| {
        let content = vec![0; content].into();
        Kind::Signal(Signal { user: user.into(), kind: "k".repeat(kind), content, ..Signal::default() })
    };
    vec![
        ("nothing but an id", whole(&[0x08, 0x07]), Code::Unimplemented),
        (
            "36,000 unknown fields",
            whole(&[&[0x08, 0x07][..], &[0x78, 0x01].repeat(36_000)].concat()),
            Code::Unimplemented,
        ),
        (
            "groups as deep as may be",
            {
                let deep = nested(90);
                whole(&[&[0x08, 0x07], &deep[2..]].concat())
            },
            Code::Unimplemented,
        ),
        ("a frame of a server", whole(&[0x08, 0x07, 0x72, 0x00]), Code::Unimplemented),
        ("Ack below 0", framed(Kind::Ack(Ack { cursor: -1 })), Code::InvalidArgument),
        ("Ack beyond the head", framed(Kind::Ack(Ack { cursor: i64::MAX })), Code::InvalidArgument),
        ("Pull from nowhere", framed(pull("", None, 1)), Code::InvalidArgument),
        ("Pull after less than 0", framed(pull("", Some(from(-1)), 1)), Code::InvalidArgument),
        (
            "Pull before less than 0",
            framed(pull("", Some(pull::From::Before(i64::MIN)), 1)),
            Code::InvalidArgument,
        ),
        ("Pull of 2^31", framed(pull("", Some(from(0)), 1 << 31)), Code::InvalidArgument),
        ("Pull of less than 0", framed(pull("", Some(from(0)), i64::MIN)), Code::InvalidArgument),
        ("Pull of somebody's inbox", framed(pull("i:bob", Some(from(0)), 1)), Code::PermissionDenied),
        (
            "Pull of others' conversation",
            framed(pull("d:alice:bob", Some(from(0)), 1)),
            Code::PermissionDenied,
        ),
        ("Pull of no timeline", framed(pull("d:eve", Some(from(0)), 1)), Code::InvalidArgument),
        (
            "Pull of a name of 70 KB",
            framed(pull(&"d".repeat(70_000), Some(from(0)), 1)),
            Code::InvalidArgument,
        ),
        ("Signal to nobody", framed(signal("", 1, 1)), Code::InvalidArgument),
        ("Signal of 1,001 bytes", framed(signal("bob", 1, 1_001)), Code::TooLarge),
        ("Signal of a long kind", framed(signal("bob", 65, 1)), Code::TooLarge),
        ("Refresh with nothing", framed(Kind::Refresh(Refresh::default())), Code::Unauthenticated),
        (
            "Refresh with 64 KB",
            framed(Kind::Refresh(Refresh { token: "x".repeat(64 * 1024) })),
            Code::TooLarge,
        ),
        ("Subscribe to nothing", framed(subscribe("", None)), Code::InvalidArgument),
        ("Subscribe to characters", framed(subscribe("news\n", None)), Code::InvalidArgument),
        ("Subscribe to a name of 70 KB", framed(subscribe(&"n".repeat(70_000), None)), Code::InvalidArgument),
        ("Subscribe after -1", framed(subscribe("news", Some(-1))), Code::InvalidArgument),
        ("Subscribe to the system's", framed(subscribe("@system", None)), Code::PermissionDenied),
        ("Unsubscribe from nothing", framed(unsubscribe("")), Code::InvalidArgument),
        ("Unsubscribe from what it is not", framed(unsubscribe("news")), Code::NotFound),
        ("Pull of the system's", framed(pull("c:@system", Some(from(0)), 1)), Code::PermissionDenied),
        ("Presence", framed(Kind::Presence(Default::default())), Code::Unimplemented),
        ("Mark", framed(Kind::Mark(Default::default())), Code::Unimplemented),
    ]
}

/// What is answered with a Receipt that is REJECTED.
fn refused_messages() -> Vec<(&'static str, Msg, Code)> {
    let good = || Msg { receiver_id: "bob".into(), local_id: "l".into(), ..Msg::default() };
    vec![
        ("nothing", Msg::default(), Code::InvalidArgument),
        ("no receiver", Msg { receiver_id: String::new(), ..good() }, Code::InvalidArgument),
        ("65 bytes", Msg { receiver_id: "b".repeat(65), ..good() }, Code::InvalidArgument),
        ("70 KB", Msg { receiver_id: "b".repeat(70_000), ..good() }, Code::InvalidArgument),
        ("characters", Msg { receiver_id: "bob\n".into(), ..good() }, Code::InvalidArgument),
        (
            "a letter that looks like one",
            Msg { receiver_id: "b\u{43e}b".into(), ..good() },
            Code::InvalidArgument,
        ),
        ("two targets", Msg { group_id: "g".into(), ..good() }, Code::InvalidArgument),
        ("a group", Msg { receiver_id: String::new(), group_id: "g".into(), ..good() }, Code::Unimplemented),
        (
            "a channel's name",
            Msg { receiver_id: String::new(), channel: "a b".into(), ..good() },
            Code::InvalidArgument,
        ),
        (
            "the system's channel",
            Msg { receiver_id: String::new(), channel: "@x".into(), ..good() },
            Code::PermissionDenied,
        ),
        ("local_id", Msg { local_id: "\u{7f}".into(), ..good() }, Code::InvalidArgument),
        ("a long local_id", Msg { local_id: "l".repeat(65), ..good() }, Code::InvalidArgument),
        ("msg_type", Msg { msg_type: 24, ..good() }, Code::InvalidArgument),
        ("related_id", Msg { related_id: "r".repeat(129), ..good() }, Code::InvalidArgument),
        ("expire_at", Msg { expire_at: -1, ..good() }, Code::InvalidArgument),
        ("create_time", Msg { create_time: -1, ..good() }, Code::InvalidArgument),
        ("content", Msg { content: vec![0; 65_537].into(), ..good() }, Code::TooLarge),
    ]
}

/// What no session begins with, and how the connection is closed.
fn refused_beginnings(server: &Server) -> Vec<(&'static str, BytesMut, CloseCode)> {
    use client_frame::Kind;
    let good = || hello(server, "eve", "e");
    vec![
        ("Ping", framed(Kind::Ping(Ping {})), CloseCode::ProtocolError),
        ("Send", framed(Kind::Send(Send::default())), CloseCode::ProtocolError),
        ("an empty oneof", whole(&[0x08, 0x07]), CloseCode::ProtocolError),
        ("an empty Hello", framed(Kind::Hello(Hello::default())), CloseCode::Unauthenticated),
        ("a frame of 8 KiB and a byte", bytes(8 * 1024 + 1, &[]), CloseCode::TooLarge),
        (
            "a token of 64 KB",
            framed(Kind::Hello(Hello { token: "x".repeat(64 * 1024), ..good() })),
            CloseCode::TooLarge,
        ),
        (
            "an agent of 8 KB",
            framed(Kind::Hello(Hello { agent: "x".repeat(8 * 1024), ..good() })),
            CloseCode::TooLarge,
        ),
        (
            "an agent of 129 bytes",
            framed(Kind::Hello(Hello { agent: "x".repeat(129), ..good() })),
            CloseCode::ProtocolError,
        ),
        (
            "no device",
            framed(Kind::Hello(Hello { device_id: String::new(), ..good() })),
            CloseCode::ProtocolError,
        ),
        ("attempt 0", framed(Kind::Hello(Hello { attempt: 0, ..good() })), CloseCode::ProtocolError),
        (
            "attempt below 0",
            framed(Kind::Hello(Hello { attempt: i64::MIN, ..good() })),
            CloseCode::ProtocolError,
        ),
        ("9 lanes", framed(Kind::Hello(Hello { lanes: 9, ..good() })), CloseCode::ProtocolError),
        ("2^32-1 lanes", framed(Kind::Hello(Hello { lanes: u32::MAX, ..good() })), CloseCode::ProtocolError),
    ]
}

/// Tokens that are none of ours, or no longer.
fn refused_tokens(server: &Server) -> Vec<String> {
    let [header, claims, signature]: [String; 3] = {
        let token = server.token("eve", std::time::Duration::from_secs(600));
        token.split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
    };
    let expired = server.token_of_the_past("eve");
    vec![
        String::new(),
        "x".to_owned(),
        "%%%.%%%.%%%".to_owned(),
        // {"alg":"none"}
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        format!("eyJhbGciOiJub25lIn0.{claims}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{}", signature.chars().rev().collect::<String>()),
        format!("{header}.{claims}.{signature}.{signature}"),
        expired,
    ]
}

/// One session is live, the honest one's; whatever else was open is closed, and nothing of it was worth a line.
async fn nothing_is_left(server: &Server, sockets_before: usize) {
    until(async || sessions(server).await == 1 && sockets(server) <= sockets_before).await;
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    let lines = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
    // That the limit of open files is low is said at the start.
    let lines: Vec<&str> = lines.filter(|line| !line.contains("open files")).collect();
    assert!(lines.is_empty(), "{lines:?}");
}
