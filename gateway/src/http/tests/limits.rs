//! What a hostile or a dead client costs, TLS, and how it all ends.

use rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::*;

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificate() -> (Arc<rustls::ServerConfig>, Arc<rustls::ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    (Arc::new(server), Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}

/// Reads up to the end, which may be a reset.
async fn end(tcp: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let _ = tcp.read_to_end(&mut got).await;
    got
}

#[tokio::test]
async fn a_flood_of_headers_is_431() {
    let running = Start::default().run().await;
    let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    let path = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    for text in [format!("GET / HTTP/1.1\r\n{many}\r\n"), format!("GET / HTTP/1.1\r\n{long}\r\n"), path] {
        let mut tcp = running.connect().await;
        tcp.write_all(text.as_bytes()).await.unwrap();
        let got = end(&mut tcp).await;
        assert!(got.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&got));
    }
    let mut tcp = running.connect().await;
    tcp.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await.unwrap();
    assert!(end(&mut tcp).await.starts_with(b"HTTP/1.1 400"));
    assert_eq!(running.request("GET / HTTP/1.1").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_end_and_an_idle_connection_are_closed() {
    let running = Start::default().run().await;
    for text in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n"] {
        let started = Instant::now();
        let mut tcp = running.connect().await;
        tcp.write_all(text.as_bytes()).await.unwrap();
        end(&mut tcp).await;
        assert!(started.elapsed() <= Duration::from_secs(11), "{text:?}");
    }
    let started = Instant::now();
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(end(&mut tcp).await.starts_with(b"HTTP/1.1 200"));
    assert!(started.elapsed() <= Duration::from_secs(21));
}

/// What `one` connection sends a byte of every second does not last longer than what sends nothing.
async fn dribble(tcp: &mut TcpStream, text: &str) -> Duration {
    let started = Instant::now();
    for byte in text.bytes() {
        if tcp.write_all(&[byte]).await.is_err() {
            break;
        }
        let mut answer = [0; 1_024];
        let next = tokio::time::timeout(Duration::from_secs(1), tcp.read(&mut answer)).await;
        match next {
            Ok(Ok(0) | Err(_)) => break,
            // An answer, and the end right behind it.
            Ok(Ok(_)) => _ = end(tcp).await,
            Err(_) => {}
        }
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_gains_no_time() {
    let (server, _) = certificate();
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(100));
    let running = Start::default().run().await;
    assert!(dribble(&mut running.connect().await, &head).await <= Duration::from_secs(12));
    // The second request of a connection as well.
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET /assets/app.js HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 1_024];
    assert!(tcp.read(&mut answer).await.unwrap() > 0);
    assert!(dribble(&mut tcp, &head).await <= Duration::from_secs(12));
    // A body has its own time.
    let body = "POST /api/v1/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first-key\r\n\
                Content-Length: 1000\r\n\r\n";
    let mut tcp = running.connect().await;
    tcp.write_all(body.as_bytes()).await.unwrap();
    assert!(dribble(&mut tcp, &" ".repeat(1_000)).await <= Duration::from_secs(24));
    let running = Start { tls: Some(server), ..Start::default() }.run().await;
    // A record of TLS that is announced with 512 bytes.
    let hello = format!("\u{16}\u{3}\u{1}\u{2}\u{0}{}", "\u{1}".repeat(511));
    assert!(dribble(&mut running.connect().await, &hello).await <= Duration::from_secs(12));
}

#[tokio::test]
async fn one_byte_at_a_time_is_a_request_too() {
    let running = Start::default().run().await;
    let mut tcp = running.connect().await;
    tcp.set_nodelay(true).unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        tcp.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(Answer::read(&mut tcp).await.status, 200);
}

#[tokio::test]
async fn the_same_over_tls() {
    let (server, client) = certificate();
    let mut running = Start { tls: Some(server), ..Start::default() }.run().await;
    let connector = TlsConnector::from(client);
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = connector.connect(name.clone(), running.connect().await).await.unwrap();
    let own = format!("Host: localhost:{}\r\nConnection: close\r\n\r\n", running.address.port());
    tls.write_all(format!("GET /demo/connect HTTP/1.1\r\n{own}").as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut tls).await.status, 200);

    let mut tls = connector.connect(name, running.connect().await).await.unwrap();
    let text = running.handshake_text("GET /ws HTTP/1.1", &[]);
    tls.write_all(text.as_bytes()).await.unwrap();
    assert_eq!(Answer::read_head(&mut tls).await.status, 101);
    tls.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
    let mut pong = [0; 2];
    tls.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0x8a, 0]);
    drop(tls);
    assert_eq!(running.ended.recv().await.unwrap().1, Ended::Gone(None));
}

#[tokio::test(start_paused = true)]
async fn a_tls_handshake_that_does_not_come_or_is_none() {
    let (server, _) = certificate();
    let running = Start { tls: Some(server), ..Start::default() }.run().await;
    let started = Instant::now();
    let mut tcp = running.connect().await;
    assert!(end(&mut tcp).await.is_empty());
    assert!(started.elapsed() <= Duration::from_secs(11));
    let mut tcp = running.connect().await;
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    end(&mut tcp).await;
    let refusals = running.gateway.0.refusals.lock().clone();
    assert!(refusals.contains(&"tls_timeout"), "{refusals:?}");
    running.until_live(0).await;
}

#[tokio::test]
async fn who_comes_beyond_a_limit_is_refused_at_once_and_a_websocket_counts() {
    for (connections, per_address, reason) in [(1, 0, "full"), (100, 1, "address_full")] {
        let limits = admission::Limits { connections, per_address };
        let mut running = Start { limits, ..Start::default() }.run().await;
        let (tcp, answer) = running.handshake("GET /ws HTTP/1.1", &[]).await;
        assert_eq!(answer.status, 101);
        let mut second = running.connect().await;
        let refused = tokio::time::timeout(HANG, second.read(&mut [0])).await.expect("it has to wait");
        assert!(!matches!(refused, Ok(1..)), "served beyond the limit");
        assert_eq!(*running.gateway.0.refusals.lock(), [reason]);
        drop(tcp);
        assert_eq!(running.ended.recv().await.unwrap().1, Ended::Gone(None));
        running.until_live(0).await;
        assert_eq!(running.request("GET / HTTP/1.1").await.status, 200);
    }
}

#[tokio::test]
async fn however_a_connection_ends_its_place_is_free_again() {
    let running = Start::default().run().await;
    let mut kept_alive = running.connect().await;
    kept_alive.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    kept_alive.read_exact(&mut [0; 12]).await.unwrap();
    assert_eq!(running.live.get(), 1);
    drop(kept_alive);
    running.until_live(0).await;

    let (refused, answer) = running.handshake("GET /ws HTTP/1.1", &["Sec-WebSocket-Version: 12"]).await;
    assert_eq!(answer.status, 426);
    drop(refused);
    running.until_live(0).await;

    // Gone before its 101, with and without a reset.
    for reset in [false, true] {
        let mut hasty = running.connect().await;
        hasty.write_all(running.handshake_text("GET /ws HTTP/1.1", &[]).as_bytes()).await.unwrap();
        if reset {
            hasty.set_zero_linger().unwrap();
        }
        drop(hasty);
    }
    let (websocket, answer) = running.handshake("GET /ws HTTP/1.1", &[]).await;
    assert_eq!(answer.status, 101);
    running.until_live(1).await;
    drop(websocket);
    running.until_live(0).await;

    let (server, _) = certificate();
    let secure = Start { tls: Some(server), ..Start::default() }.run().await;
    let mut no_tls = secure.connect().await;
    no_tls.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    end(&mut no_tls).await;
    secure.until_live(0).await;
}

#[tokio::test]
async fn stopping_ends_the_listener_and_idle_connections() {
    let running = Start::default().run().await;
    let mut idle = running.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).await.unwrap();
    let address = running.address;
    running.stop().await;
    end(&mut idle).await;
    assert!(TcpStream::connect(address).await.is_err());
}

/// Else one that reads 1 KiB a second seems to take nothing for a minute.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_slow_reader_is_seen_to_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4 * 1024).unwrap();
    // As on any network but loopback.
    socket2::SockRef::from(&client).set_tcp_mss(1_400).unwrap();
    let mut client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    super::super::listener::tune(&server);
    for _ in 0..5 {
        while server.try_write(&[0; 4096]).is_ok() {}
        let mut read = 0;
        while timeout(Duration::from_millis(5), server.writable()).await.is_err() {
            read += client.read(&mut [0; 1024]).await.unwrap();
        }
        assert!(read <= 30 * 1024, "{read} bytes were read before the server could write");
    }
}
