//! What is read and written in each mode: frames in messages, and what is no frame.

use super::*;
use crate::transport::Kind;

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
    assert_eq!(server.info().kind, Kind::WebSocket);
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
async fn the_plain_mode_says_hello_for_its_client_and_acknowledges_by_pong() {
    use tidegate_proto::id::UserId;
    let identity = Identity {
        user: UserId::new("124").unwrap(),
        device: None,
        grants: Default::default(),
        expires_at: i64::MAX,
    };
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
