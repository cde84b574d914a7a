//! Packets by hand, and clients that begin a handshake and leave it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ConnectionError, Endpoint, TransportConfig};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::transport::quic::Limits;
use crate::transport::quic::tests::rig::{HANG, Rig, until};

fn rig(limits: Limits) -> Rig {
    Rig::with(limits, Arc::new(|_| true))
}

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut packet = vec![0; 2_000];
    let length = timeout(HANG, socket.recv(&mut packet)).await.expect("no answer").unwrap();
    packet.truncate(length);
    packet
}

/// The first packets of a real client, which never gets an answer.
async fn first_flight(rig: &Rig) -> Vec<Vec<u8>> {
    let mute = socket().await;
    let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = rig.client_config(tidegate_proto::ALPN, TransportConfig::default());
    let connecting = client.connect_with(config, mute.local_addr().unwrap(), "localhost").unwrap();
    let mut packets = vec![receive(&mute).await];
    let mut packet = [0; 2_000];
    while let Ok(length) = mute.try_recv(&mut packet) {
        packets.push(packet[..length].to_vec());
    }
    drop(connecting);
    packets
}

/// A client that has said its first words from a port of its own and says no more.
pub(super) async fn stalled(rig: &Rig) -> (UdpSocket, usize) {
    let (flight, socket) = (first_flight(rig).await, socket().await);
    let mut sent = 0;
    for packet in flight {
        sent += socket.send_to(&packet, rig.address).await.unwrap();
    }
    (socket, sent)
}

#[tokio::test]
async fn an_unknown_protocol_is_refused_as_tls_does() {
    let rig = Rig::new();
    for alpn in [&b"tidegate/2"[..], b"h2"] {
        let error = rig.try_connect(alpn, TransportConfig::default()).await.unwrap_err();
        let ConnectionError::ConnectionClosed(close) = error else { panic!("{error:?}") };
        // The alert no_application_protocol, 120.
        assert_eq!(u64::from(close.error_code), 0x100 + 120);
    }
    until(async || rig.counters.handshake_failed.get() == 2).await;
}

#[tokio::test]
async fn an_unknown_version_is_answered_with_the_known_ones_and_a_short_packet_not_at_all() {
    let rig = Rig::new();
    let socket = socket().await;
    socket.connect(rig.address).await.unwrap();
    let initial = |version: u32, dcid: u8, length: usize| {
        let mut packet = vec![0xc3];
        packet.extend_from_slice(&version.to_be_bytes());
        packet.extend_from_slice(&[8, dcid, 2, 3, 4, 5, 6, 7, 8, 1, 9]);
        packet.resize(length, 0);
        packet
    };
    // Of these only the last is both long enough and of an unknown version.
    socket.send(&initial(0x0a0a_0a0b, 1, 1_199)).await.unwrap();
    socket.send(&initial(1, 2, 1_199)).await.unwrap();
    socket.send(&[0xc3]).await.unwrap();
    socket.send(&initial(0x0a0a_0a0b, 4, 1_200)).await.unwrap();
    let answer = receive(&socket).await;
    assert!(answer[0] & 0x80 != 0 && answer[1..5] == [0; 4], "{answer:?}");
    // Its own id first, then the one the client chose for the server.
    assert_eq!(answer[5..16], [1, 9, 8, 4, 2, 3, 4, 5, 6, 7, 8]);
    assert!(answer[16..].chunks(4).any(|version| version == [0, 0, 0, 1]), "{answer:?}");
    assert_eq!(rig.server.open_connections(), 0);
}

#[tokio::test]
async fn from_a_number_of_half_open_handshakes_an_address_must_be_shown() {
    let rig = rig(Limits { retry_from_half_open: 2, ..Limits::default() });
    let _first = stalled(&rig).await;
    let _second = stalled(&rig).await;
    until(async || rig.tracker.len() == 2).await;
    let (third, _) = stalled(&rig).await;
    let answer = receive(&third).await;
    assert_eq!(answer[0] & 0xf0, 0xf0, "not a Retry: {:02x}", answer[0]);
    assert!(rig.counters.retried.get() >= 1);
    // An honest client gets through.
    rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.unwrap();
}

#[tokio::test]
async fn half_open_handshakes_are_capped_and_go_in_time() {
    let limits = Limits {
        max_half_open: 2,
        retry_from_half_open: 100,
        handshake_timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let rig = rig(limits);
    let _first = stalled(&rig).await;
    let _second = stalled(&rig).await;
    until(async || rig.tracker.len() == 2).await;
    let error = rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.unwrap_err();
    assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error:?}");
    assert_eq!(rig.counters.half_open.get(), 1);
    until(async || rig.counters.handshake_failed.get() == 2).await;
    rig.try_connect(tidegate_proto::ALPN, TransportConfig::default()).await.unwrap();
    until(async || rig.server.open_connections() <= 1).await;
}

#[tokio::test]
async fn an_address_that_was_not_shown_gets_at_most_three_times_what_it_sent() {
    let rig = rig(Limits { handshake_timeout: Duration::from_secs(2), ..Limits::default() });
    let (socket, sent) = stalled(&rig).await;
    // Until the server has given up it sends again what was not acknowledged.
    until(async || rig.counters.handshake_failed.get() == 1).await;
    let (mut got, mut packet) = (0, [0; 2_000]);
    socket.readable().await.unwrap();
    while let Ok(length) = socket.try_recv(&mut packet) {
        got += length;
    }
    assert!(got > 0 && got <= 3 * sent, "{got} for {sent}");
}

#[tokio::test]
async fn noise_harms_nobody() {
    let mut rig = Rig::new();
    let (mut client, mut session) = rig.raw().await;
    let socket = socket().await;
    let noise = |seed: usize| -> Vec<u8> {
        (0..1_200).map(|at| (seed * 31 + at * at * 17 + (at >> 3) * seed) as u8).collect()
    };
    for seed in 0..500 {
        let mut packet = noise(seed);
        packet[0] |= [0xc0, 0x40, 0xe0, 0xf0][seed % 4];
        packet[1..5].copy_from_slice(&1u32.to_be_bytes());
        packet.truncate(1 + seed * 7 % 1_200);
        socket.send_to(&packet, rig.address).await.unwrap();
    }
    // And into the connection itself, from another port.
    let rebound: SocketAddr = client.endpoint.local_addr().unwrap();
    assert_ne!(rebound, socket.local_addr().unwrap());
    let frame = crate::transport::quic::tests::rig::signal("still here", 5);
    client.send(&frame).await;
    assert_eq!(session.frame().await, frame);
    assert_eq!(rig.server.open_connections(), 1);
}
