//! The transport over a pipe in memory, with paused time: a client of another making, and bytes by hand.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use prost::Message as _;
use tidegate_pipeline::body::Body;
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{
    ClientFrame, Error, GoAway, Hello, Msg, Page, Ping, Pong, Send as SendFrame, client_frame,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::Instant;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::*;

type Server = WebSocket<DuplexStream>;
type Client = WebSocketStream<DuplexStream>;

fn new_server(form: Form, pipe_bytes: usize) -> (Server, DuplexStream) {
    let (ours, theirs) = duplex(pipe_bytes);
    (WebSocket::new(ours, BytesMut::new(), ([127, 0, 0, 1], 1).into(), form), theirs)
}

fn binary() -> (Server, Client) {
    let (server, client) = new_server(Form::Binary { token: None }, 1 << 20);
    (server, ClientBuilder::new().take_over(client))
}

fn json() -> (Server, Client) {
    let (server, client) = new_server(Form::Json { token: None }, 1 << 20);
    (server, ClientBuilder::new().take_over(client))
}

fn ping(id: u32) -> ClientFrame {
    ClientFrame { id, kind: Some(client_frame::Kind::Ping(Ping {})) }
}

fn pong(id: u32) -> ServerFrame {
    ServerFrame { id, kind: Some(server_frame::Kind::Pong(Pong::default())) }
}

fn wire(frames: &[ClientFrame]) -> Vec<u8> {
    let mut wire = BytesMut::new();
    frames.iter().for_each(|frame| put_frame(&mut wire, frame));
    wire.to_vec()
}

/// A client's unfragmented frame with a mask of zeros.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

fn deliver(seq: u64, content: usize) -> Outgoing {
    let msg = Msg { send_id: "alice".into(), content: vec![b'x'; content].into(), ..Msg::default() };
    let body = Body::from_stored(&msg.encode_to_vec(), 3).unwrap();
    Outgoing::Deliver { timeline: "".into(), seq, body: Some(body) }
}

fn frames(message: &Message) -> Vec<ServerFrame> {
    assert!(message.is_binary(), "{message:?}");
    let mut bytes = BytesMut::from(&message.as_payload()[..]);
    let mut frames = Vec::new();
    while let Some(frame) = split_frame(&mut bytes, 1 << 20).unwrap() {
        frames.push(ServerFrame::decode(frame).unwrap());
    }
    assert!(bytes.is_empty());
    frames
}

fn frame_of(event: Event) -> ClientFrame {
    match event {
        Event::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

fn bad_of(event: Event) -> Bad {
    match event {
        Event::Bad(bad) => bad,
        other => panic!("{other:?}"),
    }
}

/// Writes what is queued.
async fn flush(server: &mut Server) {
    while server.queued_bytes() > 0 {
        assert!(matches!(server.next(false).await, Event::Written));
    }
}

fn error(message: &str) -> ServerFrame {
    let error = Error { message: message.into(), ..Error::default() };
    ServerFrame { id: 0, kind: Some(server_frame::Kind::Error(error)) }
}

#[tokio::test(start_paused = true)]
async fn several_frames_of_one_message_and_answers_gathered_into_one() {
    let (mut server, mut client) = binary();
    client.send(Message::binary(wire(&[ping(1), ping(2), ping(3)]))).await.unwrap();
    for id in 1..=3 {
        assert_eq!(frame_of(server.next(true).await), ping(id));
        server.send(Outgoing::Frame(pong(id)));
    }
    server.send(deliver(9, 20_000));
    let queued = server.queued_bytes();
    flush(&mut server).await;
    assert!(server.written_bytes() >= queued as u64);
    let got = frames(&client.next().await.unwrap().unwrap());
    assert_eq!(got.iter().map(|frame| frame.id).collect::<Vec<_>>(), [1, 2, 3, 0]);
    let Some(server_frame::Kind::Deliver(deliver)) = &got[3].kind else { panic!("no Deliver") };
    assert_eq!(deliver.seq, 9);
    assert_eq!(server.info().kind, super::super::Kind::WebSocket);
}

#[tokio::test(start_paused = true)]
async fn pages_go_after_live_frames() {
    let (mut server, mut client) = binary();
    let page = ServerFrame { id: 7, kind: Some(server_frame::Kind::Page(Page::default())) };
    server.send(Outgoing::Page(page));
    server.send(Outgoing::Signal(pong(1)));
    server.send(Outgoing::Frame(pong(2)));
    flush(&mut server).await;
    let ids = |message: Message| frames(&message).iter().map(|frame| frame.id).collect::<Vec<_>>();
    assert_eq!(ids(client.next().await.unwrap().unwrap()), [1, 2]);
    assert_eq!(ids(client.next().await.unwrap().unwrap()), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_next_loses_no_byte() {
    let (mut server, mut client) = new_server(Form::Binary { token: None }, 1 << 20);
    server.send(deliver(1, 3000));
    let mut got = Vec::new();
    let message = wire(&[ping(1), ping(2)]);
    let half = message.len() / 2;
    let wire = [raw(0x02, &message[..half]), raw(0x89, b"p"), raw(0x80, &message[half..])].concat();
    for byte in wire {
        client.write_all(&[byte]).await.unwrap();
        while let Some(event) = server.next(true).now_or_never() {
            if let Event::Frame(frame) = event {
                got.push(frame);
            }
        }
    }
    assert_eq!(got, [ping(1), ping(2)]);
    let mut written = vec![0; 3100];
    let read = client.read(&mut written).await.unwrap();
    assert_eq!((written[0], &written[read - 3..read]), (0x82, &b"\x8a\x01p"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_no_frames_ends_the_session() {
    let whole = wire(&[ping(1), ping(300)]);
    for cut in 1..whole.len() {
        let (mut server, mut client) = binary();
        client.send(Message::binary(whole[..cut].to_vec())).await.unwrap();
        let mut event = server.next(true).await;
        if let Event::Frame(frame) = event {
            assert_eq!(frame, ping(1));
            if cut == wire(&[ping(1)]).len() {
                assert!(server.next(true).now_or_never().is_none());
                continue;
            }
            event = server.next(true).await;
        }
        let bad = bad_of(event);
        assert_eq!(
            (bad.close, bad.code),
            (Some(CloseCode::ProtocolError), Code::ProtocolError),
            "cut at {cut}"
        );
        assert!(server.next(true).now_or_never().is_none(), "nothing is read after it");
    }
    for (what, message, close) in [
        ("no frame", Message::binary(Bytes::new()), CloseCode::ProtocolError),
        ("length 0", Message::binary(&b"\0"[..]), CloseCode::ProtocolError),
        ("an over-long varint", Message::binary(&b"\x81\0x"[..]), CloseCode::ProtocolError),
        ("a length over the limit", Message::binary(&b"\x81\x40x"[..]), CloseCode::TooLarge),
        ("no ClientFrame", Message::binary(&b"\x02\xff\xff"[..]), CloseCode::ProtocolError),
        ("a text", Message::text("{}"), CloseCode::ProtocolError),
    ] {
        let (mut server, mut client) = binary();
        client.send(message).await.unwrap();
        assert_eq!(bad_of(server.next(true).await).close, Some(close), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_raised_by_open() {
    let large = |bytes: usize| {
        let msg = Msg { content: vec![b'x'; bytes].into(), ..Msg::default() };
        ClientFrame { id: 1, kind: Some(client_frame::Kind::Send(SendFrame { msg: Some(msg) })) }
    };
    let hello = |bytes: usize| {
        let hello = Hello { token: "t".repeat(bytes), ..Hello::default() };
        ClientFrame { id: 1, kind: Some(client_frame::Kind::Hello(hello)) }
    };
    let (mut server, mut client) = binary();
    client.send(Message::binary(wire(&[hello(8000)]))).await.unwrap();
    assert_eq!(frame_of(server.next(true).await), hello(8000));
    server.open(MAX_FRAME_BYTES, 8, true);
    client.send(Message::binary(wire(&[large(65_536), large(60_000)]))).await.unwrap();
    assert_eq!(frame_of(server.next(true).await), large(65_536));
    assert_eq!(frame_of(server.next(true).await), large(60_000));
    client.send(Message::binary(wire(&[large(MAX_FRAME_BYTES)]))).await.unwrap();
    assert_eq!(bad_of(server.next(true).await).close, Some(CloseCode::TooLarge));

    // Before open it is TOO_LARGE in our own words, since after it the message would be well.
    let (mut server, mut client) = binary();
    client.send(Message::binary(wire(&[hello(64 * 1024)]))).await.unwrap();
    let bad = bad_of(server.next(true).await);
    assert_eq!((bad.close, bad.code), (Some(CloseCode::TooLarge), Code::TooLarge));
    let (_, got) =
        tokio::join!(server.close(CloseCode::TooLarge, error("large")), client.collect::<Vec<_>>());
    let got: Vec<Message> = got.into_iter().map(Result::unwrap).collect();
    assert_eq!(frames(&got[0]), [error("large")]);
    assert_eq!(u16::from(got[1].as_close().unwrap().0), 4105);
}

#[tokio::test(start_paused = true)]
async fn json_frames_and_a_text_that_is_none() {
    let (mut server, mut client) = json();
    client.send(Message::text(r#"{"id":1,"ping":{}}"#)).await.unwrap();
    assert_eq!(frame_of(server.next(true).await), ping(1));
    for text in ["", "hello", "[1]", r#"{"id":"x"}"#, &format!("{{\"hello\":{}", "[".repeat(101))] {
        client.send(Message::text(text.to_owned())).await.unwrap();
        let bad = bad_of(server.next(true).await);
        assert_eq!((bad.close, bad.code), (None, Code::InvalidArgument), "{text}");
        assert!(bad.message.len() <= 256);
    }
    server.send(Outgoing::Frame(pong(1)));
    server.send(deliver(5, 3));
    flush(&mut server).await;
    let mut text = async || client.next().await.unwrap().unwrap().as_text().unwrap().to_owned();
    assert_eq!(text().await, r#"{"id":1,"pong":{"heads":[]}}"#);
    let deliver: serde_json::Value = serde_json::from_str(&text().await).unwrap();
    assert_eq!(deliver["deliver"]["seq"], 5);
    assert_eq!(deliver["deliver"]["msg"]["content"], "xxx");
    assert_eq!(
        (&deliver["deliver"]["msg"]["seq"], &deliver["deliver"]["msg"]["conv_seq"]),
        (&0.into(), &3.into())
    );
    client.send(Message::binary(wire(&[ping(1)]))).await.unwrap();
    assert_eq!(bad_of(server.next(true).await).close, Some(CloseCode::ProtocolError));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_websocket_fails_with_its_code_and_nothing_else() {
    for (what, bytes, close, ws_code) in [
        ("unmasked", b"\x82\x01x".to_vec(), CloseCode::ProtocolError, 1002u16),
        ("reserved bit", raw(0xc2, b"x"), CloseCode::ProtocolError, 1002),
        ("reserved opcode", raw(0x83, b"x"), CloseCode::ProtocolError, 1002),
        ("fragmented ping", raw(0x09, b"x"), CloseCode::ProtocolError, 1002),
        ("long ping", b"\x89\xfe\x00\x7e".to_vec(), CloseCode::ProtocolError, 1002),
        ("no UTF-8", raw(0x81, b"\xff"), CloseCode::ProtocolError, 1007),
        ("2^63", b"\x82\xff\x80\0\0\0\0\0\0\0".to_vec(), CloseCode::TooLarge, 1009),
    ] {
        let (mut server, mut client) = new_server(Form::Binary { token: None }, 1 << 16);
        client.write_all(&bytes).await.unwrap();
        server.send(Outgoing::Frame(pong(1)));
        let bad = loop {
            match server.next(true).await {
                Event::Written => {}
                event => break bad_of(event),
            }
        };
        assert_eq!(bad.close, Some(close), "{what}");
        let read = async {
            let mut header = [0; 10];
            let mut got = Vec::new();
            while !got.ends_with(&ws_code.to_be_bytes()) {
                let read = client.read(&mut header).await.unwrap();
                assert!(read > 0, "{what}: the end without a close frame, after {got:?}");
                got.extend_from_slice(&header[..read]);
            }
            // More garbage is read and thrown away until the client goes.
            client.write_all(&[0xff; 1000]).await.unwrap();
            drop(client);
            got
        };
        let ((), got) = tokio::join!(server.close(close, error("said by the session")), read);
        let expected = [&b"\x82\x05\x04\x08\x01\x5a\0\x88\x02"[..], &ws_code.to_be_bytes()].concat();
        assert_eq!(got, expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_frame_then_the_close_frame_then_the_clients() {
    let (mut server, mut client) = binary();
    server.send(deliver(1, 10));
    let started = Instant::now();
    let go_away = GoAway { message: "back soon".into(), ..GoAway::default() };
    let last = ServerFrame { id: 0, kind: Some(server_frame::Kind::GoAway(go_away)) };
    let read = async {
        let message = client.next().await.unwrap().unwrap();
        assert_eq!(frames(&message)[1], last);
        let close = client.next().await.unwrap().unwrap();
        let (code, reason) = close.as_close().unwrap();
        assert_eq!((u16::from(code), reason), (4000, "back soon"));
        assert!(client.next().await.is_none());
    };
    tokio::join!(server.close(CloseCode::Draining, last.clone()), read);
    assert_eq!(started.elapsed(), Duration::ZERO, "it waited for nothing but the client");
}

#[tokio::test(start_paused = true)]
async fn a_deaf_client_is_waited_for_two_seconds() {
    for pipe_bytes in [16, 1 << 16] {
        let (mut server, client) = new_server(Form::Binary { token: None }, pipe_bytes);
        server.send(deliver(1, 1000));
        let started = Instant::now();
        server.close(CloseCode::Slow, error("slow")).await;
        assert_eq!(started.elapsed().as_millis() / 10, 200);
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_close_code_is_told_and_echoed() {
    let (mut server, mut client) = binary();
    let closing = async {
        client.send(Message::close(Some(4102.try_into().unwrap()), "replaced")).await.unwrap();
        client.next().await
    };
    let (event, answer) = tokio::join!(server.next(true), closing);
    assert!(matches!(event, Event::Gone(Some(4102))), "{event:?}");
    assert_eq!(u16::from(answer.unwrap().unwrap().as_close().unwrap().0), 4102);
    assert!(matches!(server.next(true).await, Event::Gone(Some(4102))), "and stays so");

    let (mut server, client) = binary();
    drop(client);
    assert!(matches!(server.next(true).await, Event::Gone(None)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_costs_what_is_queued() {
    let (mut server, client) = new_server(Form::Binary { token: None }, 1000);
    for seq in 1..=10 {
        server.send(deliver(seq, 2000));
    }
    let queued = server.queued_bytes();
    assert!(matches!(server.next(true).await, Event::Written));
    assert_eq!(server.written_bytes(), 1000);
    let left = server.queued_bytes();
    assert!((queued - 1000..=queued - 1000 + 10).contains(&left), "{left} of {queued}");
    assert!(server.next(true).now_or_never().is_none());
    // It is still heard, and its pings fill nothing.
    let mut client = client;
    for id in 0..50 {
        client.write_all(&raw(0x89, b"ping")).await.unwrap();
        client.write_all(&raw(0x82, &wire(&[ping(id)]))).await.unwrap();
        assert_eq!(frame_of(server.next(true).await), ping(id));
    }
    assert_eq!(server.queued_bytes(), left);
    // With `read` false it is not.
    client.write_all(&raw(0x82, &wire(&[ping(99)]))).await.unwrap();
    assert!(server.next(false).now_or_never().is_none());

    let mut client = ClientBuilder::new().take_over(client);
    let writing = async {
        while server.queued_bytes() > 0 {
            assert!(matches!(server.next(false).await, Event::Written));
        }
    };
    let (_, message) = tokio::join!(writing, client.next());
    assert_eq!(frames(&message.unwrap().unwrap()).len(), 10);
    assert_eq!(frame_of(server.next(true).await), ping(99));
}

#[tokio::test(start_paused = true)]
async fn writing_and_reading_take_turns() {
    let (mut server, mut client) = binary();
    let (mut frames, mut written) = (0, 0);
    for _ in 0..20 {
        // A fast client that sends and takes, and a session that always has more for it.
        client.send(Message::binary(wire(&[ping(1)]))).await.unwrap();
        server.send(deliver(1, 20_000));
        match server.next(true).await {
            Event::Frame(_) => frames += 1,
            Event::Written => written += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(frames >= 9 && written >= 9, "{frames} frames, {written} times written");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_lives_and_a_silent_one_does_not() {
    let (mut server, mut client) = binary();
    let started = Instant::now();
    // The client's library answers pings as it reads.
    let reading = tokio::time::timeout(Duration::from_secs(600), async {
        while let Some(message) = client.next().await {
            assert!(message.unwrap().is_ping());
        }
    });
    let serving = tokio::time::timeout(Duration::from_secs(600), server.next(true));
    let (event, _) = tokio::join!(serving, reading);
    assert!(event.is_err(), "{event:?}");
    assert!(started.elapsed() >= Duration::from_secs(600));

    let (mut server, mut client) = new_server(Form::Binary { token: None }, 1000);
    let started = Instant::now();
    assert!(matches!(server.next(true).await, Event::Gone(Some(4002))));
    assert_eq!(started.elapsed().as_secs(), 75, "three ticks: ping, ping, end");
    let mut got = Vec::new();
    drop(server);
    client.read_to_end(&mut got).await.unwrap();
    assert!(got.starts_with(b"\x89\0\x89\0\x88\x18\x0f\xa2"), "{got:x?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_silent() {
    let (mut server, mut client) = new_server(Form::Binary { token: None }, 1000);
    server.send(deliver(1, 60_000));
    let reading = async {
        let mut piece = [0; 500];
        // It takes a little at a time; the pings stand behind it all.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let read = client.read(&mut piece).await.unwrap();
            assert!(read > 0);
        }
    };
    let serving = async {
        loop {
            match server.next(true).await {
                Event::Written => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = serving => {}
    }
}

#[tokio::test(start_paused = true)]
async fn the_plain_mode_says_hello_for_its_client_and_acknowledges_by_pong() {
    use tidegate_proto::id::UserId;
    let identity = Identity { user: UserId::new("124").unwrap(), device: None, expires_at: i64::MAX };
    let form = Form::Plain { identity: identity.clone(), device: DeviceId::new("321").unwrap(), now_ms: 7 };
    let (mut server, client) = new_server(form, 1 << 16);
    let mut client = ClientBuilder::new().take_over(client);
    assert_eq!(server.info().identity, Some(identity));
    let Some(client_frame::Kind::Hello(hello)) = frame_of(server.next(true).await).kind else {
        panic!("no Hello")
    };
    assert_eq!((&*hello.device_id, hello.attempt), ("321", 7));
    server.open(MAX_FRAME_BYTES, 0, false);
    server.send(deliver(41, 3));
    server.send(deliver(42, 3));
    flush(&mut server).await;
    let reading = async {
        for seq in [41, 42] {
            let text = client.next().await.unwrap().unwrap();
            assert_eq!(serde_json::from_str::<Msg>(text.as_text().unwrap()).unwrap().seq, seq);
        }
        let ping = client.next().await.unwrap().unwrap();
        assert!(ping.is_ping());
        assert_eq!(&ping.as_payload()[..], b"42");
        let _ = client.flush().await;
        client
    };
    let (event, _client) = tokio::join!(server.next(true), reading);
    let Some(client_frame::Kind::Ack(ack)) = frame_of(event).kind else { panic!("no Ack") };
    assert_eq!(ack.cursor, 42);
}
