//! WebSocket over HTTP: who gets it, and that what is got works.

use bytes::BytesMut;
use futures_util::{SinkExt as _, StreamExt as _};
use tidegate_proto::framing::{put_frame, split_frame};
use tidegate_proto::v1::{Hello, Ping};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

use super::*;
use crate::transport::Kind;

type Client = WebSocketStream<TcpStream>;

async fn plain(running: &Running, path: &str) -> Client {
    let (tcp, answer) =
        running.handshake(&format!("GET {path} HTTP/1.1"), &["Sec-WebSocket-Protocol:"]).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pplmbitxaq9kygzzhzrbk+xoo="));
    ClientBuilder::new().take_over(tcp)
}

async fn msg(client: &mut Client) -> Msg {
    let message = client.next().await.unwrap().unwrap();
    serde_json::from_str(message.as_text().unwrap_or_else(|| panic!("{message:?}"))).unwrap()
}

#[tokio::test]
async fn the_hand_test() {
    let running = Start::default().run().await;
    let mut first = plain(&running, "/ws/123/conn/321").await;
    let mut second = plain(&running, "/ws/124/conn/321").await;
    // To oneself first: it comes back when the session is there.
    for client in [&mut first, &mut second] {
        client.send(Message::text("no Msg")).await.unwrap();
        let refused = msg(client).await;
        assert_eq!((refused.msg_type, refused.content_type), (24, 9));
    }
    let text = r#"{"send_id":"123","receiver_id":"124","local_id":"","server_id":"","create_time":0,"send_time":0,"seq":0,"msg_type":0,"content_type":0,"content":"hello world","is_read":false}"#;
    first.send(Message::text(text)).await.unwrap();
    let receipt = msg(&mut first).await;
    assert_eq!((receipt.msg_type, receipt.content_type, &*receipt.local_id), (24, 0, "drawn"));
    let got = msg(&mut second).await;
    assert_eq!((&*got.send_id, &*got.receiver_id, &got.content[..]), ("123", "124", &b"hello world"[..]));
    assert_eq!((&*got.server_id, got.send_time, got.seq, got.msg_type), ("ab", 7, 1, 0));
}

#[tokio::test]
async fn the_plain_route_asks_for_the_users_own_token() {
    let running = Start { development: false, ..Start::default() }.run().await;
    for (path, status) in [
        ("/ws/123/conn/for-123-/321", 101),
        ("/ws/123/conn/for-123-321/321", 101),
        ("/ws/123/conn/for-123-322/321", 401),
        ("/ws/123/conn/for-124-/321", 401),
        ("/ws/123/conn/none/321", 401),
        ("/ws/123/conn/321", 401),
        ("/ws/a:b/conn/for-123-/321", 400),
        ("/ws/123/conn/for-123-/a%20b", 400),
    ] {
        let (_tcp, answer) = running.handshake(&format!("GET {path} HTTP/1.1"), &[]).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("sec-websocket-protocol"), None);
    }
}

#[tokio::test]
async fn the_plain_route_without_a_token_is_for_this_machine() {
    let running = Start::default().run().await;
    let own = format!("Origin: http://localhost:{}", running.address.port());
    let named = format!("Host: localhost:{}", running.address.port());
    for (lines, status) in [
        (vec![], 101),
        (vec![&*own, &*named], 101),
        (vec!["Origin: http://evil.example"], 403),
        (vec!["Origin: null"], 403),
        // Another site's page may use /ws when it is allowed, with a token of its own.
        (vec!["Origin: https://allowed.example"], 401),
        (vec!["Host: evil.example"], 401),
        (vec!["Host:"], 401),
        (vec!["Sec-Fetch-Site: cross-site"], 401),
    ] {
        let (_tcp, answer) = running.handshake("GET /ws/123/conn/321 HTTP/1.1", &lines).await;
        assert_eq!(answer.status, status, "{lines:?}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused_before_101() {
    let running = Start::default().run().await;
    let get = "GET /ws HTTP/1.1";
    let own = format!("Origin: http://127.0.0.1:{}", running.address.port());
    for (request, lines, status) in [
        (get, vec![], 101),
        (get, vec![&*own], 101),
        (get, vec!["Origin: https://allowed.example"], 101),
        (get, vec!["Origin: https://evil.example"], 403),
        (get, vec!["Origin: null"], 403),
        (get, vec![&*own, "Origin: https://evil.example"], 403),
        (get, vec!["Sec-WebSocket-Key:"], 400),
        (get, vec!["Sec-WebSocket-Key: short"], 400),
        (get, vec!["Sec-WebSocket-Version: 12"], 426),
        (get, vec!["Connection: close"], 426),
        (get, vec!["Sec-WebSocket-Protocol:"], 400),
        (get, vec!["Sec-WebSocket-Protocol: other"], 400),
        ("POST /ws HTTP/1.1", vec!["Content-Length: 0"], 400),
        ("GET /ws HTTP/1.0", vec![], 400),
    ] {
        let (_tcp, answer) = running.handshake(request, &lines).await;
        assert_eq!(answer.status, status, "{request} {lines:?}");
        if status == 426 {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
    assert!(running.gateway.0.refusals.lock().contains(&"origin"));
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_and_a_token_on_the_url() {
    let mut running = Start::default().run().await;
    let mut tcp = running.connect().await;
    let mut wire = BytesMut::new();
    put_frame(&mut wire, &ClientFrame { id: 5, kind: Some(client_frame::Kind::Ping(Ping {})) });
    let lines = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"];
    let mut bytes = running.handshake_text("GET /ws?token=abc HTTP/1.1", &lines).into_bytes();
    bytes.extend([0x82, 0x80 | wire.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(&wire);
    tcp.write_all(&bytes).await.unwrap();
    let answer = Answer::read_head(&mut tcp).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("tidegate.v1")));
    assert_eq!(answer.header("sec-websocket-extensions"), None, "permessage-deflate is declined");
    let mut client = ClientBuilder::new().take_over(tcp);
    let message = client.next().await.unwrap().unwrap();
    let mut payload = BytesMut::from(&message.as_payload()[..]);
    let pong: ServerFrame =
        prost::Message::decode(split_frame(&mut payload, 1000).unwrap().unwrap()).unwrap();
    assert_eq!(pong.id, 5);
    client.send(Message::close(Some(4100.try_into().unwrap()), "")).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().is_close());
    let (info, ended) = running.ended.recv().await.unwrap();
    assert_eq!((info.kind, info.token.as_deref(), info.identity), (Kind::WebSocket, Some("abc"), None));
    assert_eq!(ended, Ended::Gone(Some(4100)));
}

#[tokio::test]
async fn the_json_subprotocol() {
    let mut running = Start::default().run().await;
    let lines = ["Sec-WebSocket-Protocol: tidegate.v1.json, tidegate.v1"];
    let (tcp, answer) = running.handshake("GET /ws HTTP/1.1", &lines).await;
    assert_eq!(answer.header("sec-websocket-protocol"), Some("tidegate.v1.json"));
    let mut client = ClientBuilder::new().take_over(tcp);
    client.send(Message::text("{}}")).await.unwrap();
    let error: serde_json::Value =
        serde_json::from_str(client.next().await.unwrap().unwrap().as_text().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "INVALID_ARGUMENT");
    let hello = serde_json::to_string(&ClientFrame {
        id: 1,
        kind: Some(client_frame::Kind::Hello(Hello::default())),
    });
    client.send(Message::text(hello.unwrap())).await.unwrap();
    client.send(Message::text(r#"{"id":3,"ping":{}}"#)).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some(r#"{"id":3,"pong":{"heads":[]}}"#));
    client.send(Message::binary(&b"\x01x"[..])).await.unwrap();
    assert!(client.next().await.unwrap().unwrap().as_text().unwrap().contains("PROTOCOL_ERROR"));
    let close = client.next().await.unwrap().unwrap();
    assert_eq!(u16::from(close.as_close().unwrap().0), 4104);
    assert!(client.next().await.is_none());
    let (info, ended) = running.ended.recv().await.unwrap();
    assert_eq!((info.kind, ended), (Kind::WebSocketJson, Ended::Bad(Code::ProtocolError)));
}

#[tokio::test]
async fn hostile_frames_over_a_real_socket() {
    let mut running = Start::default().run().await;
    for (what, bytes, code) in [
        ("unmasked", &b"\x82\x01x"[..], 1002u16),
        ("2^63", b"\x82\xff\x80\0\0\0\0\0\0\0", 1009),
        ("no UTF-8", b"\x81\x81\0\0\0\0\xff", 1007),
    ] {
        let (mut tcp, _) = running.handshake("GET /ws HTTP/1.1", &[]).await;
        tcp.write_all(bytes).await.unwrap();
        let mut got = [0; 4];
        tcp.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [0x88, 2, code.to_be_bytes()[0], code.to_be_bytes()[1]], "{what}");
        drop(tcp);
        assert!(matches!(running.ended.recv().await, Some((_, Ended::Bad(_)))), "{what}");
    }
}
