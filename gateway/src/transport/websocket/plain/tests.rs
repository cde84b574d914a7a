//! What a plain client sees of what a session says, and the other way round.

use bytes::BytesMut;
use tidegate_pipeline::body::Body;
use tidegate_proto::v1::{CloseCode, Code, Error, GoAway, Welcome};

use super::*;
use crate::transport::Bad;
use crate::transport::websocket::output::Framing;

struct Bench {
    plain: Plain,
    output: Output,
}

impl Bench {
    fn new() -> Self {
        let mut plain = Plain::new(&DeviceId::new("321").unwrap(), 5);
        let Some(Event::Frame(ClientFrame { kind: Some(client_frame::Kind::Hello(hello)), .. })) =
            plain.hello()
        else {
            panic!("no Hello")
        };
        assert_eq!((&*hello.device_id, hello.attempt, &*hello.platform), ("321", 5, "plain"));
        assert_eq!((&*hello.token, hello.start), ("", None));
        assert!(plain.hello().is_none());
        Self { plain, output: Output::new(Framing::PerMessage) }
    }

    fn text(&mut self, text: &str) -> Option<Event> {
        self.plain.message(&Incoming::Text(text.as_bytes().into()), self.output.launched_seq())
    }

    fn send(&mut self, local_id: &str) {
        let text = format!(r#"{{"receiver_id":"124","local_id":"{local_id}","content":"hi"}}"#);
        let Some(Event::Frame(ClientFrame { id: 0, kind: Some(client_frame::Kind::Send(send)) })) =
            self.text(&text)
        else {
            panic!("no Send")
        };
        let msg = send.msg.unwrap();
        assert_eq!((&*msg.receiver_id, &*msg.local_id, &msg.content[..]), ("124", local_id, &b"hi"[..]));
    }

    fn pong(&mut self, echo: &str) -> Option<i64> {
        let event = self.plain.message(&Incoming::Pong(echo.as_bytes().into()), self.output.launched_seq());
        event.map(|event| match event {
            Event::Frame(ClientFrame { kind: Some(client_frame::Kind::Ack(ack)), .. }) => ack.cursor,
            other => panic!("{other:?}"),
        })
    }

    /// What the client gets of `out`: at most one message.
    fn put(&mut self, out: Outgoing) -> Option<Msg> {
        self.plain.put(&mut self.output, out);
        let wire = self.output.in_flight()?.copy_all();
        let payload = match wire[1] {
            126 => &wire[4..],
            _ => &wire[2..],
        };
        Some(match wire[0] {
            0x81 => serde_json::from_slice(payload).unwrap(),
            0x82 => Msg::decode(payload).unwrap(),
            other => panic!("{other:x}"),
        })
    }

    fn receipt(&mut self, status: ReceiptStatus, local_id: &str) -> Option<Msg> {
        self.receipt_at(status, local_id, i64::from(status == ReceiptStatus::Stored))
    }

    fn receipt_at(&mut self, status: ReceiptStatus, local_id: &str, conv_seq: i64) -> Option<Msg> {
        let code = if status == ReceiptStatus::Rejected { Code::Conflict } else { Code::Ok };
        self.put(frame_out(server_frame::Kind::Receipt(Receipt {
            local_id: local_id.into(),
            server_id: "ab".into(),
            send_time: 7,
            status: status as i32,
            code: code as i32,
            message: "no".into(),
            conv_seq,
            ..Receipt::default()
        })))
    }

    fn deliver(&mut self, seq: u64) -> Option<Msg> {
        self.put(Outgoing::Deliver { timeline: "".into(), seq, body: Some(body("x")) })
    }
}

trait CopyAll {
    fn copy_all(&mut self) -> Vec<u8>;
}

impl<B: bytes::Buf> CopyAll for B {
    fn copy_all(&mut self) -> Vec<u8> {
        let remaining = self.remaining();
        self.copy_to_bytes(remaining).to_vec()
    }
}

fn frame_out(kind: server_frame::Kind) -> Outgoing {
    Outgoing::Frame(ServerFrame { id: 0, kind: Some(kind) })
}

fn body(local_id: &str) -> Body {
    let msg =
        Msg { send_id: "123".into(), local_id: local_id.into(), content: "hi".into(), ..Msg::default() };
    Body::from_stored(&msg.encode_to_vec(), 3).unwrap()
}

#[test]
fn the_message_of_the_hand_test() {
    let mut bench = Bench::new();
    let text = r#"{"send_id":"123","receiver_id":"124","local_id":"","server_id":"","create_time":0,"send_time":0,"seq":0,"msg_type":0,"content_type":0,"content":"hello world","is_read":false}"#;
    let Some(Event::Frame(ClientFrame { kind: Some(client_frame::Kind::Send(send)), .. })) = bench.text(text)
    else {
        panic!("no Send")
    };
    assert_eq!(send.msg.unwrap().content, "hello world");
    let receipt = bench.receipt(ReceiptStatus::Accepted, "drawn").unwrap();
    assert_eq!((receipt.msg_type, receipt.content_type), (24, 0));
    assert_eq!((&*receipt.local_id, &*receipt.server_id, receipt.send_time), ("drawn", "ab", 7));
}

#[test]
fn one_receipt_a_send_at_accepted() {
    let mut bench = Bench::new();
    bench.send("a");
    assert_eq!(bench.receipt(ReceiptStatus::Accepted, "a").unwrap().local_id, "a");
    assert_eq!(bench.put(Outgoing::Stored { seq: 1, body: body("a") }), None);
    // STORED comes first when the log is slow to say what it has; what was stored before has a STORED of its own.
    bench.send("b");
    assert_eq!(bench.put(Outgoing::Stored { seq: 2, body: body("b") }), None);
    assert_eq!(bench.receipt(ReceiptStatus::Accepted, "b").unwrap().local_id, "b");
    assert_eq!(bench.receipt(ReceiptStatus::Stored, "b"), None);
    // A send without a local_id beside one with.
    bench.send("");
    bench.send("c");
    assert_eq!(bench.receipt(ReceiptStatus::Accepted, "c").unwrap().local_id, "c");
    assert_eq!(bench.put(Outgoing::Stored { seq: 3, body: body("c") }), None);
    assert_eq!(bench.receipt(ReceiptStatus::Accepted, "drawn").unwrap().local_id, "drawn");
    assert_eq!(bench.put(Outgoing::Stored { seq: 4, body: body("drawn") }), None);
}

#[test]
fn of_a_volatile_channel_stored_is_the_one_receipt() {
    let mut bench = Bench::new();
    bench.send("a");
    let receipt = bench.receipt_at(ReceiptStatus::Stored, "a", 0).unwrap();
    assert_eq!((receipt.msg_type, receipt.content_type, &*receipt.local_id), (24, 0, "a"));
}

#[test]
fn stored_of_one_message_is_no_receipt_for_another_of_the_same_local_id() {
    for stored_by_receipt in [false, true] {
        let mut bench = Bench::new();
        bench.send("x");
        assert_eq!(bench.receipt(ReceiptStatus::Accepted, "x").unwrap().content_type, 0);
        // Another body under the same name, on its way when the first is stored: it is refused, and only that.
        bench.send("x");
        let first = if stored_by_receipt {
            bench.receipt(ReceiptStatus::Stored, "x")
        } else {
            bench.put(Outgoing::Stored { seq: 1, body: body("x") })
        };
        assert_eq!(first, None);
        let second = bench.receipt(ReceiptStatus::Rejected, "x").unwrap();
        assert_eq!((second.content_type, &second.content[..]), (9, &b"no"[..]));
    }
}

#[test]
fn a_refusal_has_content_type_9_and_may_follow_the_receipt() {
    let mut bench = Bench::new();
    bench.send("a");
    for _ in 0..2 {
        let refused = bench.receipt(ReceiptStatus::Rejected, "a").unwrap();
        assert_eq!((refused.msg_type, refused.content_type, &*refused.local_id), (24, 9, "a"));
        assert_eq!(refused.content, "no");
    }
}

#[test]
fn a_text_that_is_no_msg_is_forgiven() {
    let mut bench = Bench::new();
    for text in ["", "hello", "[]", "1", "{", r#"{"seq":"x"}"#, &"[".repeat(200)] {
        let Some(Event::Bad(Bad { close: None, code: Code::InvalidArgument, message })) = bench.text(text)
        else {
            panic!("{text} passes")
        };
        assert!(message.starts_with("the text is no Msg in JSON") && message.len() <= 256, "{message}");
    }
    let error = Error { message: "the text is no Msg".into(), ..Error::default() };
    let answer = bench.put(frame_out(server_frame::Kind::Error(error))).unwrap();
    assert_eq!(
        (answer.msg_type, answer.content_type, &answer.content[..]),
        (24, 9, &b"the text is no Msg"[..])
    );
    let bytes = Incoming::Binary(BytesMut::from(&b"\xff\xff"[..]));
    assert!(matches!(bench.plain.message(&bytes, 0), Some(Event::Bad(Bad { close: None, .. }))));
}

#[test]
fn messages_come_with_their_seq_in_the_kind_last_used() {
    let mut bench = Bench::new();
    let msg = bench.deliver(9).unwrap();
    assert_eq!((msg.seq, &*msg.send_id, msg.conv_seq), (9, "123", 3));
    let sent = Incoming::Binary(BytesMut::from(&Msg::default().encode_to_vec()[..]));
    bench.plain.message(&sent, 0);
    bench
        .plain
        .put(&mut bench.output, Outgoing::Deliver { timeline: "".into(), seq: 10, body: Some(body("y")) });
    assert_eq!(bench.output.in_flight().unwrap().copy_all()[0], 0x82);
    bench.text("{}");
    assert_eq!(bench.deliver(11).unwrap().seq, 11);
}

#[test]
fn what_such_a_client_does_not_know_is_left_out() {
    let mut bench = Bench::new();
    assert_eq!(bench.put(frame_out(server_frame::Kind::Welcome(Welcome::default()))), None);
    assert_eq!(bench.put(Outgoing::Signal(ServerFrame::default())), None);
    assert_eq!(bench.put(Outgoing::Page(ServerFrame::default())), None);
    assert_eq!(bench.put(Outgoing::Deliver { timeline: "".into(), seq: 4, body: None }), None);
    let go_away = GoAway { reason: CloseCode::Draining as i32, ..GoAway::default() };
    let msg = bench.put(frame_out(server_frame::Kind::GoAway(go_away))).unwrap();
    assert_eq!((msg.msg_type, msg.content_type, &msg.content[..]), (25, 9, &b"CLOSE_CODE_DRAINING"[..]));
}

#[test]
fn the_echo_of_what_was_written_moves_the_cursor_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.pong("0"), None);
    bench.deliver(1);
    bench.put(Outgoing::Deliver { timeline: "".into(), seq: 2, body: None });
    bench.put(Outgoing::Stored { seq: 3, body: body("a") });
    assert_eq!(bench.output.launched_seq(), 3);
    // A ping that goes now stands before what waits behind it.
    bench
        .plain
        .put(&mut bench.output, Outgoing::Deliver { timeline: "".into(), seq: 4, body: Some(body("x")) });
    assert_eq!((bench.output.launched_seq(), bench.pong("4")), (1, None));
    bench.output.in_flight().unwrap().copy_all();
    assert_eq!(bench.output.launched_seq(), 4);
    assert_eq!(bench.pong("5"), None, "never sent");
    assert_eq!(bench.pong("x"), None);
    assert_eq!(bench.pong("-1"), None);
    assert_eq!(bench.pong("3"), Some(3));
    assert_eq!(bench.pong("3"), None);
    assert_eq!(bench.pong("2"), None);
    assert_eq!(bench.pong("4"), Some(4));
}
