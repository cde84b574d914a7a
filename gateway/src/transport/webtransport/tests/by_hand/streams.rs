//! What belongs to the session, in whatever order it comes; what belongs to none; the end.

use super::*;

#[tokio::test]
async fn the_settings_say_what_browsers_look_for_before_the_client_says_anything() {
    let rig = Rig::new();
    let hand = Hand::bare(&rig).await;
    let mut control = timeout(HANG, hand.connection.accept_uni()).await.unwrap().unwrap();
    let mut bytes = vec![0; h3::settings().len()];
    timeout(HANG, control.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(bytes[..2], [0, 4]);
    let (_, length_bytes) = take_varint(&bytes[2..]).unwrap();
    let mut payload = &bytes[2 + length_bytes..];
    let mut settings = Vec::new();
    while !payload.is_empty() {
        let (id, id_bytes) = take_varint(payload).unwrap();
        let (value, value_bytes) = take_varint(&payload[id_bytes..]).unwrap();
        settings.push((id, value));
        payload = &payload[id_bytes + value_bytes..];
    }
    for id in [0x08, 0x33, 0x2b60_3742, 0xc671_706a] {
        assert!(settings.contains(&(id, 1)), "{id:x} in {settings:?}");
    }
}

#[tokio::test]
async fn streams_left_unfinished_delay_nothing() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    // One before the request, one before the control stream, one unidirectional; each of a byte and no more.
    let _first = hand.bi(&[0x40]).await;
    let _uni = hand.uni(&[0x40]).await;
    let (id, _request, _answer) = hand.session().await;
    let _second = hand.bi(&[0x40, 0x41]).await;
    let (_send, recv) = hand.bi(&of_session(id, &encoded(&signal("hello", 1)))).await;
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("hello", 1));
    session.send(Outgoing::Frame(server_signal("welcome", 1))).await;
    assert_eq!(Frames::new(recv).next().await, Some(server_signal("welcome", 1)));
}

#[tokio::test]
async fn everything_may_come_in_any_order_and_cut_anywhere() {
    let mut rig = Rig::new();
    let hand = Hand::bare(&rig).await;
    // The control stream before the request before the settings: the first request is stream 0.
    let (mut request, mut answer) = hand.connection.open_bi().await.unwrap();
    let frame = encoded(&signal("early", 100));
    let (_send, _recv) = hand.bi(&of_session(0, &frame)).await;
    for byte in [&[0x21, 0x01, 0x07][..], &headers(&CONNECT)].concat() {
        request.write_all(&[byte]).await.unwrap();
    }
    let mut control = hand.connection.open_uni().await.unwrap();
    for byte in h3::settings() {
        control.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(status(&mut answer).await, 200);
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("early", 100));
}

#[tokio::test]
async fn a_stream_of_another_session_that_came_early_is_not_taken_for_the_control_stream() {
    let mut rig = Rig::new();
    let mut hand = Hand::bare(&rig).await;
    let (request, mut answer) = hand.request(&CONNECT).await;
    let (_foreign, mut refused) = hand.bi(&of_session(400, &encoded(&signal("foreign", 1)))).await;
    // When a later stream is refused, the earlier ones are read.
    let (_second, mut second) = hand.request(&CONNECT).await;
    let error = timeout(HANG, second.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::REQUEST_REJECTED));
    hand.control = Some(hand.uni(&h3::settings()).await);
    assert_eq!(status(&mut answer).await, 200);
    let id = quinn::VarInt::from(request.id()).into_inner();
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("own", 1)))).await;
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("own", 1));
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::STREAM_REJECTED));
}

#[tokio::test]
async fn a_second_session_is_never_served() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    let (id, _request, _answer) = hand.session().await;
    let (_send, mut refused) = hand.request(&CONNECT).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::REQUEST_REJECTED));
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
    let mut session = rig.session().await;
    assert_eq!(session.frame().await, signal("one", 1));
    let (_send, mut refused) = hand.request(&CONNECT).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::REQUEST_REJECTED));
    assert!(rig.is_idle() && session.is_quiet());
}

#[tokio::test]
async fn streams_and_datagrams_of_no_session_are_rejected() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    let (id, _request, _answer) = hand.session().await;
    let (_send, mut refused) = hand.bi(&of_session(id + 400, b"x")).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::STREAM_REJECTED));
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
    let mut session = rig.session().await;
    session.frame().await;
    session.open(0, true).await;

    let (_send, mut refused) = hand.bi(&of_session(id + 400, b"x")).await;
    let error = timeout(HANG, refused.read_chunk(10, true)).await.unwrap().unwrap_err();
    assert_eq!(error, quinn::ReadError::Reset(h3::STREAM_REJECTED));
    let mut uni = hand.uni(&h3::uni_header(id)).await;
    assert_eq!(timeout(HANG, uni.stopped()).await.unwrap(), Ok(Some(h3::STREAM_REJECTED)));
    uni.reset(h3::NO_ERROR).unwrap();

    let datagram = |quarter: &[u8], name: &str| [quarter, &signal(name, 1).encode_to_vec()].concat().into();
    hand.connection.send_datagram(datagram(&[0x20], "foreign")).unwrap();
    hand.connection.send_datagram(datagram(&[], "none")).unwrap();
    hand.connection.send_datagram(Bytes::new()).unwrap();
    hand.connection.send_datagram(datagram(&h3::datagram_header(id), "own")).unwrap();
    let event = session.event().await;
    assert!(matches!(&event, Event::Datagram(frame) if *frame == signal("own", 1)), "{event:?}");
}

#[tokio::test]
async fn the_clients_end_of_the_session_is_told_with_its_code() {
    let code = crate::transport::webtransport::capsule::close(4_100, "bye");
    for (bytes, expected) in [(&code[..], Some(4_100)), (&[], Some(0))] {
        let mut rig = Rig::new();
        let hand = Hand::new(&rig).await;
        let (id, mut request, _answer) = hand.session().await;
        let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
        let mut session = rig.session().await;
        session.frame().await;
        request.write_all(bytes).await.unwrap();
        request.finish().unwrap();
        let event = session.event().await;
        assert!(matches!(event, Event::Gone(code) if code == expected), "{event:?}");
    }
}

#[tokio::test]
async fn a_client_that_ignores_the_close_is_closed() {
    let mut rig = Rig::new();
    let hand = Hand::new(&rig).await;
    let (id, _request, _answer) = hand.session().await;
    let (_control, _recv) = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
    let session = rig.session().await;
    session.close(CloseCode::Draining).await;
    assert_eq!(hand.closed().await, CloseCode::Draining as u64);
}
