//! Streams and datagrams of QUIC and WebTransport used against their purpose.

use quinn::TransportConfig;
use tidegate_client::Transport;
use tidegate_proto::v1::{CloseCode, Code, Hello, Ping, Refresh, Signal, client_frame, server_frame};

use super::streams::{NO_CODE, Streams, closed};
use super::watch::{WITH_ADMIN, sessions, until};
use super::wire::{Wire, hello};
use crate::peer::{Peer, within};
use crate::server::Server;

const STREAMS: [Transport; 2] = [Transport::Quic, Transport::WebTransport];

async fn open(server: &Server, transport: Transport) -> (quinn::Connection, Wire) {
    let streams = within(Streams::open(server, transport, TransportConfig::default())).await;
    (streams.connection.clone(), Wire::on(streams))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_stream_that_is_reset_or_stopped_ends_the_session() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    for transport in STREAMS {
        for stop in [true, false] {
            let (connection, mut wire) = open(&server, transport).await;
            wire.hello(&server, "eve", "e").await;
            if stop {
                wire.stop();
                // It is noticed when there is something to write.
                wire.send(client_frame::Kind::Ping(Ping {})).await;
            } else {
                wire.reset();
            }
            within(connection.closed()).await;
            until(async || sessions(&server).await == 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_before_hello_after_it_and_of_any_kind_are_dropped() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let mut bob = Peer::connect(&server, Transport::Quic, "bob", "b").await;
    let alice = Peer::connect(&server, Transport::Quic, "alice", "a").await;
    for transport in STREAMS {
        let (connection, mut wire) = open(&server, transport).await;
        let noise = || (0..200usize).map(|at| vec![(at * 31) as u8; at * 5]);
        for datagram in noise() {
            let _ = connection.send_datagram(datagram.into());
        }
        let hello = Hello { datagrams: true, ..hello(&server, "eve", "e") };
        wire.send(client_frame::Kind::Hello(hello)).await;
        let first = wire.frame().await.unwrap().kind;
        assert!(matches!(first, Some(server_frame::Kind::Welcome(_))), "{first:?}");
        for _ in 0..20 {
            for datagram in noise() {
                let _ = connection.send_datagram(datagram.into());
            }
            alice.send("bob", "x").await;
            assert_eq!(bob.text().await, "x");
        }
        // What is no frame ends the session, or was lost on the way; either is an end of it.
        wire.send(client_frame::Kind::Bye(Default::default())).await;
        let code = wire.closed().await.1;
        assert!([CloseCode::ProtocolError as u32, CloseCode::Normal as u32].contains(&code), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_and_resetting_streams_is_closed_past_a_budget() {
    let server = Server::start_with(&[], &[WITH_ADMIN]).await;
    let honest = Peer::connect(&server, Transport::Quic, "honest", "h").await;
    for transport in STREAMS {
        let (connection, mut wire) = open(&server, transport).await;
        wire.hello(&server, "eve", "e").await;
        let mut opened = 0;
        let flood = async {
            while let Ok((mut send, _recv)) = connection.open_bi().await {
                let _ = send.write_all(&[0x40]).await;
                let _ = send.reset(NO_CODE);
                opened += 1;
                assert!(opened < 10_000, "nothing ends it");
            }
        };
        within(async { tokio::join!(flood, async { while wire.frame().await.is_some() {} }) }).await;
        let code = within(closed(&connection)).await;
        // EXCESSIVE_LOAD where it is HTTP/3.
        let expected = if transport == Transport::Quic { CloseCode::ProtocolError as u32 } else { 0x107 };
        assert!(code.is_none_or(|code| code == expected), "{code:?} after {opened}");
    }
    until(async || sessions(&server).await == 1).await;
    honest.store("honest", "still here").await;
}

/// Each token that is looked at costs a signature's verification.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_tokens_is_limited_and_the_session_lives() {
    let server = Server::start().await;
    for transport in [Transport::Quic, Transport::WebTransport, Transport::WebSocket] {
        let mut wire = Wire::welcomed(&server, transport, "eve", "e").await;
        let token = server.token("bob", std::time::Duration::from_secs(600));
        let mut limited = 0;
        for _ in 0..100 {
            wire.send(client_frame::Kind::Refresh(Refresh { token: token.clone() })).await;
        }
        for _ in 0..100 {
            let Some(server_frame::Kind::Error(error)) = wire.frame().await.unwrap().kind else { panic!() };
            match error.code() {
                Code::RateLimited => {
                    assert!(error.retry_after_ms > 0);
                    limited += 1;
                }
                code => assert_eq!(code, Code::Unauthenticated),
            }
        }
        assert!(limited > 50, "{limited}");
        wire.send(client_frame::Kind::Signal(Signal { user: "bob".into(), ..Signal::default() })).await;
        wire.send(client_frame::Kind::Ping(Ping {})).await;
        assert!(matches!(wire.frame().await.unwrap().kind, Some(server_frame::Kind::Pong(_))));
    }
}
