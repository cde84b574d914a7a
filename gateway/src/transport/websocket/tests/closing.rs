//! How a connection ends, and what its client is told before.

use super::*;

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
