//! A client over the real transports, against a scripted server on the loopback.

#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

#[path = "network/server.rs"]
mod server;

use std::collections::HashSet;
use std::time::Duration;

use tidegate_client::v1::{
    CloseCode, Deliver, GoAway, Msg, Page, Receipt, ReceiptStatus, ServerFrame, Signal, Welcome,
    client_frame, deliver, server_frame, stream_header,
};
use tidegate_client::{
    Client, Config, ConnectError, Disconnect, Endpoint, Event, Events, History, Transport, Trust,
};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use self::server::{Connection, Peer, Server, frames, header, spawn};

const ALL: [Transport; 3] = [Transport::Quic, Transport::WebTransport, Transport::WebSocket];
const WITH_STREAMS: [Transport; 2] = [Transport::Quic, Transport::WebTransport];

fn welcome() -> Welcome {
    Welcome { user_id: "alice".into(), epoch: "e1".into(), floor: 1, ..Welcome::default() }
}

fn message(seq: i64, conversation: &str) -> server_frame::Kind {
    let msg = Msg { send_id: "bob".into(), conversation: conversation.into(), ..Msg::default() };
    let entry = Some(deliver::Entry::Msg(msg));
    server_frame::Kind::Deliver(Deliver { timeline: String::new(), seq, entry })
}

async fn session(server: &Server, config: Config) -> (Peer, Client, Events) {
    let connecting = spawn(Client::connect(config));
    let peer = within(server.welcomed()).await;
    let (client, events) = within(connecting).await.unwrap().unwrap();
    (peer, client, events)
}

/// Ends a hang; no verdict hangs on it otherwise.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.expect("no hang")
}

async fn next_message(events: &mut Events) -> tidegate_client::Message {
    loop {
        match within(events.recv()).await.expect("the client lives") {
            Event::Message(message) => return message,
            Event::Disconnected(reason) => panic!("{reason:?}"),
            _ => {}
        }
    }
}

async fn disconnect(events: &mut Events) -> Disconnect {
    loop {
        if let Event::Disconnected(reason) = within(events.recv()).await.expect("the client lives") {
            return reason;
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_and_the_client_leaves_cleanly() {
    for transport in ALL {
        let server = Server::start(transport);
        let (mut peer, client, mut events) = session(&server, server.config()).await;
        peer.send(message(1, "d:alice:bob")).await;
        assert_eq!(next_message(&mut events).await.msg.seq, 1);

        let mut sent = client.send(Msg { receiver_id: "bob".into(), ..Msg::default() }).await.unwrap();
        let Some(client_frame::Kind::Send(send)) = peer.next().await.kind else { panic!("no Send") };
        let receipt = Receipt {
            local_id: send.msg.unwrap().local_id,
            status: ReceiptStatus::Stored.into(),
            seq: 2,
            ..Receipt::default()
        };
        peer.send(server_frame::Kind::Receipt(receipt)).await;
        assert_eq!(within(sent.stored()).await.unwrap().seq, 2);

        let closing = spawn(async move { client.close().await });
        assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Ack(ack)) if ack.cursor == 2));
        assert!(matches!(peer.next().await.kind, Some(client_frame::Kind::Bye(_))));
        assert!(within(peer.try_next()).await.is_none());
        if transport != Transport::WebSocket {
            peer.finish().await;
            assert_eq!(within(peer.connection.closed()).await, CloseCode::Normal as u64);
        }
        within(closing).await.unwrap();
    }
}

#[tokio::test]
async fn many_sends_go_out_together_and_in_order() {
    for transport in ALL {
        let server = Server::start(transport);
        let (mut peer, client, _events) = session(&server, server.config()).await;
        let sender = spawn(async move {
            let mut handles = Vec::new();
            for number in 0..500 {
                let content = format!("{number} {}", "x".repeat(2_000)).into();
                let msg = Msg { receiver_id: "bob".into(), content, ..Msg::default() };
                handles.push(client.send(msg).await.unwrap());
            }
            for handle in &mut handles {
                handle.stored().await.unwrap();
            }
            client
        });
        for number in 0..500 {
            let Some(client_frame::Kind::Send(send)) = within(peer.next()).await.kind else {
                panic!("no Send")
            };
            let msg = send.msg.unwrap();
            assert!(msg.content.starts_with(format!("{number} ").as_bytes()));
            let receipt = Receipt {
                local_id: msg.local_id,
                status: ReceiptStatus::Stored.into(),
                seq: number + 1,
                ..Receipt::default()
            };
            peer.send(server_frame::Kind::Receipt(receipt)).await;
        }
        let _client = within(sender).await.unwrap();
    }
}

#[tokio::test]
async fn lanes_are_read_after_welcome_and_each_in_order() {
    for transport in WITH_STREAMS {
        let server = Server::start(transport);
        let connecting = spawn(Client::connect(server.config().lanes(2)));
        let mut peer = within(server.accept()).await;
        let Some(client_frame::Kind::Hello(hello)) = peer.next().await.kind else { panic!("no Hello") };
        assert_eq!((hello.lanes, hello.datagrams), (2, true));
        let mut lanes = Vec::new();
        for number in 0..2 {
            let mut lane = peer.open(stream_header::Kind::Lane(number)).await;
            let seqs = (1..=200).filter(|seq| seq % 2 == i64::from(number));
            let deliveries: Vec<_> = seqs.map(|seq| message(seq, &format!("g:{number}"))).collect();
            lane.write_all(&frames(&deliveries)).await.unwrap();
            lanes.push(lane);
        }
        peer.send(server_frame::Kind::Welcome(welcome())).await;
        let (client, mut events) = within(connecting).await.unwrap().unwrap();
        assert!(matches!(within(events.recv()).await, Some(Event::Connected(_))));
        let mut last = [0, 0];
        for _ in 0..200 {
            let message = next_message(&mut events).await;
            let lane = (message.seq % 2) as usize;
            assert!(message.seq > last[lane]);
            last[lane] = message.seq;
        }
        assert_eq!(last, [200, 199]);
        assert_eq!(client.position().unwrap().cursor, 200);
    }
}

#[tokio::test]
async fn a_full_lane_does_not_keep_the_others_waiting() {
    let server = Server::start(Transport::Quic);
    let (mut peer, _client, mut events) = session(&server, server.config().lanes(2).event_capacity(2)).await;
    let Connection::Quic(connection) = &peer.connection else { panic!("not QUIC") };
    let connection = connection.clone();
    // Two events wait, so nothing is read until the application comes.
    peer.send(message(1, "g:0")).await;
    for (number, seqs) in [(0, 3..=2_000), (1, 2..=2)] {
        let mut lane = connection.open_uni().await.unwrap();
        lane.write_all(&header(stream_header::Kind::Lane(number))).await.unwrap();
        let deliveries: Vec<_> = seqs.map(|seq| message(seq, &format!("g:{number}"))).collect();
        lane.write_all(&frames(&deliveries)).await.unwrap();
        lane.finish().unwrap();
        // All of it has arrived.
        within(lane.stopped()).await.unwrap();
    }
    let mut before = 0;
    while next_message(&mut events).await.seq != 2 {
        before += 1;
    }
    assert!(before < 1_000, "{before} messages came first");
}

#[tokio::test]
async fn a_lane_that_is_reset_ends_the_session() {
    let server = Server::start(Transport::Quic);
    let (mut peer, _client, mut events) = session(&server, server.config().lanes(1)).await;
    let Connection::Quic(connection) = &peer.connection else { panic!("not QUIC") };
    let mut lane = connection.open_uni().await.unwrap();
    let mut bytes = header(stream_header::Kind::Lane(0));
    bytes.extend_from_slice(&frames(&[message(1, "g:1")]));
    lane.write_all(&bytes).await.unwrap();
    assert_eq!(next_message(&mut events).await.seq, 1);
    lane.reset(7u32.into()).unwrap();
    assert!(matches!(
        disconnect(&mut events).await,
        Disconnect::Broken(tidegate_client::LinkError::LaneReset(7))
    ));
    assert!(within(peer.try_next()).await.is_none());
    within(server.welcomed()).await;
}

#[tokio::test]
async fn pages_come_on_a_stream_of_their_own_or_on_the_control_stream() {
    for (transport, own_stream) in [
        (Transport::Quic, true),
        (Transport::Quic, false),
        (Transport::WebTransport, true),
        (Transport::WebSocket, false),
    ] {
        let server = Server::start(transport);
        let (mut peer, client, _events) = session(&server, server.config()).await;
        for head in 1..=40 {
            let puller = client.clone();
            let pull = spawn(async move { puller.pull("", History::After(0), 0).await });
            let id = within(peer.next()).await.id;
            let frame =
                ServerFrame { id, kind: Some(server_frame::Kind::Page(Page { head, ..Page::default() })) };
            let mut bytes = bytes::BytesMut::new();
            tidegate_proto::framing::put_frame(&mut bytes, &frame);
            if own_stream {
                let mut stream = peer.open(stream_header::Kind::AnswerTo(id)).await;
                stream.write_all(&bytes).await.unwrap();
                stream.shutdown().await.unwrap();
            } else {
                peer.write(&bytes).await;
            }
            assert_eq!(within(pull).await.unwrap().unwrap().head, head);
        }
    }
}

#[tokio::test]
async fn small_signals_are_datagrams_and_large_ones_are_not() {
    for transport in WITH_STREAMS {
        let server = Server::start(transport);
        let (mut peer, client, mut events) = session(&server, server.config()).await;
        let signal = |bytes: usize| Signal {
            user: "bob".into(),
            kind: "k".into(),
            content: vec![7; bytes].into(),
            ..Signal::default()
        };
        assert!(client.signal(signal(1_000)));
        let frame = within(peer.connection.datagram()).await;
        assert!(
            matches!(frame.kind, Some(client_frame::Kind::Signal(signal)) if signal.content.len() == 1_000)
        );
        assert!(client.signal(signal(1_150)));
        assert!(matches!(within(peer.next()).await.kind, Some(client_frame::Kind::Signal(_))));

        let kind = Some(server_frame::Kind::Signal(Signal { from: "bob".into(), ..Signal::default() }));
        peer.connection.send_datagram(&ServerFrame { id: 0, kind });
        loop {
            if let Event::Signal(signal) = within(events.recv()).await.unwrap() {
                assert_eq!(signal.from, "bob");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_last_frame_is_answered_with_a_close_of_the_same_code() {
    for transport in ALL {
        let server = Server::start(transport);
        let (mut peer, _client, mut events) = session(&server, server.config()).await;
        let go_away = GoAway { reason: CloseCode::Draining.into(), ..GoAway::default() };
        peer.send(server_frame::Kind::GoAway(go_away)).await;
        peer.finish().await;
        assert!(within(peer.try_next()).await.is_none());
        if transport != Transport::WebSocket {
            assert_eq!(within(peer.connection.closed()).await, CloseCode::Draining as u64);
        }
        let reason = disconnect(&mut events).await;
        assert!(matches!(reason, Disconnect::Closed { code: CloseCode::Draining, .. }));
        drop(peer);
        within(server.welcomed()).await;
    }
}

#[tokio::test]
async fn a_quic_session_survives_a_change_of_port() {
    let server = Server::start(Transport::Quic);
    let (mut peer, client, mut events) = session(&server, server.config()).await;
    let Connection::Quic(connection) = &peer.connection else { panic!("not QUIC") };
    let connection = connection.clone();
    let mut ports = HashSet::from([connection.remote_address().port()]);
    for seq in 1..=5 {
        client.rebind().unwrap();
        let pinger = client.clone();
        let ping = spawn(async move { pinger.ping().await });
        let asked = within(peer.next()).await;
        ports.insert(connection.remote_address().port());
        let mut bytes = bytes::BytesMut::new();
        let pong = server_frame::Kind::Pong(tidegate_client::v1::Pong::default());
        let frame = ServerFrame { id: asked.id, kind: Some(pong) };
        tidegate_proto::framing::put_frame(&mut bytes, &frame);
        peer.write(&bytes).await;
        assert!(within(ping).await.unwrap().is_ok());
        peer.send(message(seq, "d:alice:bob")).await;
        assert_eq!(next_message(&mut events).await.seq, seq);
    }
    assert_eq!(ports.len(), 6);
}

#[tokio::test]
async fn only_the_right_certificate_is_believed() {
    for transport in ALL {
        let server = Server::start(transport);
        let other = Server::start(Transport::Quic).hash();
        let wrong = Client::connect(server.config().trust(Trust::CertHash(other)));
        let accepting = async {
            // Whatever the handshake comes to on this side.
            let _ = timeout(Duration::from_secs(30), spawn_accept(&server)).await;
        };
        let result = tokio::select! {
            result = within(wrong) => result,
            () = accepting => panic!("the server has a session"),
        };
        assert!(matches!(result, Err(ConnectError::Open(_))), "{transport:?}");

        let ca = server.config().trust(Trust::Ca(vec![server.certificate.clone()]));
        session(&server, ca.clone()).await;
        session(&server, ca.server_name("localhost")).await;
    }
}

/// Lets the handshakes of a server go on, and never ends: the failure of one is no concern of this test.
async fn spawn_accept(server: &Server) {
    use futures_util::FutureExt;
    loop {
        let accepted = std::panic::AssertUnwindSafe(server.accept()).catch_unwind().await;
        assert!(accepted.is_err(), "the client believed the wrong certificate");
    }
}

#[tokio::test]
async fn where_udp_is_dropped_the_web_socket_wins() {
    // A UDP socket that nobody reads, on the number that TCP was given; somebody else may have that one.
    let pair = || {
        let server = Server::start(Transport::WebSocket);
        std::net::UdpSocket::bind(server.address).ok().map(|udp| (server, udp))
    };
    let (server, _udp) = (0..50).find_map(|_| pair()).unwrap();
    let config = server.config().transports([Transport::Quic, Transport::WebTransport, Transport::WebSocket]);
    let (_peer, _client, mut events) = session(&server, config).await;
    let Some(Event::Connected(connected)) = within(events.recv()).await else { panic!("not connected") };
    assert_eq!(connected.transport, Transport::WebSocket);
}

#[tokio::test]
async fn clients_share_an_endpoint() {
    for transport in WITH_STREAMS {
        let server = Server::start(transport);
        let endpoint = Endpoint::new(None);
        let mut sessions = Vec::new();
        let mut ports = HashSet::new();
        for _ in 0..5 {
            let session = session(&server, server.config().endpoint(endpoint.clone())).await;
            let connection = match &session.0.connection {
                Connection::Quic(connection) => connection,
                Connection::WebTransport(connection) => connection.quic_connection(),
                Connection::WebSocket => panic!("no WebSocket here"),
            };
            ports.insert(connection.remote_address().port());
            sessions.push(session);
        }
        assert_eq!(ports.len(), 1);
        for (peer, _, events) in &mut sessions {
            peer.send(message(1, "d:alice:bob")).await;
            assert_eq!(next_message(events).await.seq, 1);
        }
    }
}

#[tokio::test]
async fn nonsense_from_the_server_ends_the_session() {
    for transport in ALL {
        let server = Server::start(transport);
        let (mut peer, _client, mut events) = session(&server, server.config()).await;
        peer.write(&[0xff; 64]).await;
        assert!(matches!(disconnect(&mut events).await, Disconnect::Broken(_)));
        within(server.welcomed()).await;
    }
}
