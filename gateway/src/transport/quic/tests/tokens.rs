//! What a client keeps of an earlier life of the server stays good as long as the keys do.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, ConnectionError, Endpoint, TokenMemoryCache, TransportConfig};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::admission;
use crate::transport::quic::tests::rig::{HANG, KEYS, Rig, until};
use crate::transport::quic::{Keys, Limits};

const OTHER_KEYS: Keys = Keys { token: [3; 64], reset: [4; 64] };

/// A life of the server in which every client must show its address.
fn life(keys: &Keys) -> Rig {
    let places = admission::Limits { connections: 100, per_address: 0 };
    let limits = Limits { retry_from_half_open: 0, ..Limits::default() };
    Rig::with_all(limits, places, Arc::new(|_| true), keys)
}

#[tokio::test]
async fn an_address_shown_to_one_life_of_the_server_is_known_to_the_next() {
    for (keys, retried) in [(&KEYS, 0), (&OTHER_KEYS, 1)] {
        let tokens = Arc::new(TokenMemoryCache::default());
        let (before, after) = (life(&KEYS), life(keys));
        let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connect = async |rig: &Rig| -> Result<Connection, ConnectionError> {
            let mut config = rig.client_config(tidegate_proto::ALPN, TransportConfig::default());
            config.token_store(tokens.clone());
            let connecting = client.connect_with(config, rig.address, "localhost").unwrap();
            timeout(HANG, connecting).await.expect("no handshake")
        };
        let connection = connect(&before).await.unwrap();
        assert_eq!(before.counters.retried.get(), 1);
        until(async || connection.stats().frame_rx.new_token > 0).await;
        before.server.close(0u32.into(), b"");
        connect(&after).await.unwrap();
        assert_eq!(after.counters.retried.get(), retried);
    }
}

#[tokio::test]
async fn a_handshake_that_one_life_of_the_server_asked_to_retry_goes_on_with_the_next() {
    for (keys, retried) in [(&KEYS, 0), (&OTHER_KEYS, 1)] {
        let (before, after) = (life(&KEYS), life(keys));
        // One address in front of both, so that the client sees one server.
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = client.local_addr().unwrap();
        let config = after.client_config(tidegate_proto::ALPN, TransportConfig::default());
        let connecting = client.connect_with(config, front.local_addr().unwrap(), "localhost").unwrap();
        relay(&front, own, before.address, || before.counters.retried.get() == 1).await;
        before.server.close(0u32.into(), b"");
        let accepted = || after.counters.retried.get() > 0 || after.live.get() > 0;
        relay(&front, own, after.address, accepted).await;
        assert_eq!((after.counters.retried.get(), after.live.get()), (retried, 1 - retried as i64));
        if retried == 0 {
            tokio::select! {
                connected = connecting => assert!(connected.is_ok(), "{connected:?}"),
                () = relay(&front, own, after.address, || false) => {}
            }
        }
    }
}

/// Carries packets between a client and a server until the server has done what is waited for, and its answer to that.
async fn relay(front: &UdpSocket, client: SocketAddr, server: SocketAddr, done: impl Fn() -> bool) {
    let relaying = async {
        let mut packet = [0; 2_048];
        loop {
            let (bytes, from) = front.recv_from(&mut packet).await.unwrap();
            let to = if from == client { server } else { client };
            front.send_to(&packet[..bytes], to).await.unwrap();
            if from == server && done() {
                return;
            }
        }
    };
    timeout(HANG, relaying).await.expect("nothing comes");
}
