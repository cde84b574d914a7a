//! Secrets and contents do not get into the log, whatever its level and wherever they come.

use tidegate_client::Transport;
use tidegate_proto::v1::{Hello, Msg, Refresh, Send, client_frame, server_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::socket::Socket;
use super::streams::{SETTINGS, connect, connect_fields, headers};
use super::wire::{Wire, hello};
use crate::peer::within;
use crate::server::Server;

const API_KEY: &str = "a-key-of-the-backend-0123456789";
const CONTENT: &str = "what-alice-tells-bob";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_and_no_content_is_ever_logged() {
    for format in ["log.format=text", "log.format=json"] {
        let keys = format!("api.keys=[\"{API_KEY}\"]");
        let server = Server::start_with(&[], &["log.level=trace", format, &keys]).await;
        let good = server.token("alice", std::time::Duration::from_secs(600));
        let expired = server.token_of_the_past("alice");
        for transport in [Transport::Quic, Transport::WebTransport, Transport::WebSocket] {
            in_frames(&server, transport, &good, &expired).await;
        }
        in_urls(&server, &good).await;
        in_urls(&server, &expired).await;
        with_an_api_key(&server).await;

        let log = server.log();
        assert!(log.contains("session began") && log.contains("TRACE"), "{log}");
        let secret = |token: &str| token.rsplit('.').next().unwrap().to_owned();
        for secret in [secret(&good), secret(&expired), API_KEY.to_owned(), CONTENT.to_owned()] {
            let found = log.lines().find(|line| line.contains(&secret));
            assert!(found.is_none(), "{secret} is in {}", found.unwrap());
        }
        let claims = good.split('.').nth(1).unwrap();
        assert!(!log.contains(claims), "claims are in the log");
    }
}

async fn in_frames(server: &Server, transport: Transport, good: &str, expired: &str) {
    let device = format!("{transport:?}");
    let with = |token: &str| Hello { token: token.to_owned(), ..hello(server, "alice", &device) };
    let mut wire = Wire::open(server, transport).await;
    wire.send(client_frame::Kind::Hello(with(expired))).await;
    wire.closed().await;
    let mut wire = Wire::open(server, transport).await;
    wire.send(client_frame::Kind::Hello(with(good))).await;
    let welcome = wire.frame().await.unwrap().kind;
    assert!(matches!(welcome, Some(server_frame::Kind::Welcome(_))), "{welcome:?}");
    for token in [expired, good, &format!("{good}x")] {
        wire.send(client_frame::Kind::Refresh(Refresh { token: token.to_owned() })).await;
    }
    let msg = Msg { receiver_id: "bob".into(), content: CONTENT.into(), ..Msg::default() };
    wire.send(client_frame::Kind::Send(Send { msg: Some(msg.clone()) })).await;
    // Refused, with what was sent in it.
    let too_long = CONTENT.repeat(4_000);
    let refused = Msg { content: too_long[..70_000].to_owned().into(), ..msg };
    wire.send(client_frame::Kind::Send(Send { msg: Some(refused) })).await;
    // A frame that is none, with a token in it.
    wire.write(&[&[0x7f][..], good.as_bytes()].concat()).await;
    wire.closed().await;
}

async fn in_urls(server: &Server, token: &str) {
    let address = server.plain;
    for request in [
        format!("GET /ws?token={token} HTTP/1.1"),
        format!("GET /ws/alice/conn/{token}/d HTTP/1.1"),
        format!("GET /ws/bob/conn/{token}/d HTTP/1.1"),
        format!("GET /nowhere?token={token} HTTP/1.1"),
        format!("GET /ws?token={token} HTTP/1.1\r\nX Y: z"),
        format!("GET /ws HTTP/1.1\r\nAuthorization: Bearer {token}"),
    ] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let text = format!("{request}\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        tcp.write_all(text.as_bytes()).await.unwrap();
        let _ = within(tcp.read_to_end(&mut Vec::new())).await;
    }
    let path = format!("/ws?token={token}");
    let mut socket = within(Socket::upgrade(address, &path, "tidegate.v1")).await;
    socket.write_message(&[0]).await;
    while within(socket.read_message()).await.is_some() {}
    let path = format!("/wt?token={token}");
    for path in [path.clone(), format!("{path}#"), format!("/elsewhere?token={token}")] {
        let (_endpoint, connection) = connect(server, b"h3", Default::default()).await.unwrap();
        let mut settings = connection.open_uni().await.unwrap();
        settings.write_all(&SETTINGS).await.unwrap();
        let (mut request, mut answer) = connection.open_bi().await.unwrap();
        request.write_all(&headers(&connect_fields(&path))).await.unwrap();
        let _ = within(answer.read_chunk(100, true)).await;
    }
}

async fn with_an_api_key(server: &Server) {
    let body = format!(r#"{{"receiver_id":"bob","content":"{CONTENT}"}}"#);
    let broken = format!(r#"{{"receiver_id":"bob","content":"{CONTENT}",}}"#);
    for (key, body) in [(API_KEY, &body), (API_KEY, &broken), (&format!("{API_KEY}x"), &body)] {
        let mut tcp = TcpStream::connect(server.plain).await.unwrap();
        let text = format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        tcp.write_all(text.as_bytes()).await.unwrap();
        let _ = within(tcp.read_to_end(&mut Vec::new())).await;
    }
}
