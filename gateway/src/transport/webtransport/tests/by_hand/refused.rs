//! Connections that are refused or closed: what the client is told, and that they do not stay.

use super::*;

#[tokio::test]
async fn requests_that_are_none_for_a_session_get_their_status_and_the_connection_goes() {
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/wt")];
    let without = |name: &str| CONNECT.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let with = |name: &'static str, value: &'static str| {
        let mut fields = without(name);
        fields.push((name, value));
        headers(&fields)
    };
    let huge = "x".repeat(70_000);
    let cases: Vec<(u16, Bytes)> = vec![
        (405, headers(&get)),
        (400, headers(&without(":protocol"))),
        (400, headers(&without(":path"))),
        (400, headers(&without(":authority"))),
        (400, with(":scheme", "http")),
        (400, with(":protocol", "connect-udp")),
        (404, with(":path", "/")),
        (404, with(":path", "/wt#")),
        (431, headers(&[&CONNECT[..], &[("token", &huge)]].concat())),
        // QPACK: nothing, the dynamic table, an integer without an end, a string beyond the end.
        (400, raw_frame(h3::HEADERS_FRAME, &[])),
        (400, raw_frame(h3::HEADERS_FRAME, &[0, 0, 0x80])),
        (
            400,
            raw_frame(
                h3::HEADERS_FRAME,
                &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            ),
        ),
        (400, raw_frame(h3::HEADERS_FRAME, &[0, 0, 0x27, 0xff, 0x7f, 0x41])),
    ];
    let mut rig = Rig::new();
    let count = cases.len() as u64;
    // Side by side, since each connection is given some time to go by itself.
    let rig_ref = &rig;
    let refused = cases.into_iter().map(async |(expected, request)| {
        let hand = Hand::new(rig_ref).await;
        let (mut send, mut recv) = timeout(HANG, hand.connection.open_bi()).await.unwrap().unwrap();
        // The large one is not read to its end.
        let (_, status) = tokio::join!(send.write_all(&request), status(&mut recv));
        assert_eq!(status, expected, "{request:?}");
        assert_eq!(hand.closed().await, h3::NO_ERROR.into_inner());
        // HTTP/3's own streams lived as long as the connection, else the client could not trust the answer.
        let stopped = hand.control.as_ref().unwrap().stopped().await;
        assert!(matches!(stopped, Err(quinn::StoppedError::ConnectionLost(_))), "{stopped:?}");
    });
    futures_util::future::join_all(refused).await;
    until(async || rig.counters.rejected.get() == count).await;
    assert!(rig.is_idle());
}

#[tokio::test]
async fn what_is_not_http3_closes_the_connection() {
    let uni = |kind: u64, then: &[u8]| {
        let mut out = BytesMut::new();
        put_varint(&mut out, kind);
        out.extend_from_slice(then);
        out.freeze()
    };
    let too_long = [0x80, 1, 0, 0];
    let cases: Vec<(quinn::VarInt, bool, Bytes)> = vec![
        (h3::MISSING_SETTINGS, true, uni(0, &[7, 1, 0])),
        (h3::EXCESSIVE_LOAD, true, uni(0, &[&[4][..], &too_long].concat())),
        (h3::SETTINGS_ERROR, true, uni(0, &[4, 1, 8])),
        (h3::SETTINGS_ERROR, true, uni(0, &[4, 2, 2, 0])),
        (h3::STREAM_CREATION_ERROR, true, uni(1, &[0])),
        (h3::FRAME_UNEXPECTED, false, raw_frame(h3::DATA_FRAME, b"x")),
        (h3::FRAME_UNEXPECTED, false, raw_frame(h3::SETTINGS_FRAME, b"")),
        (h3::ID_ERROR, false, of_session(3, b"")),
        (h3::EXCESSIVE_LOAD, false, Bytes::from([&[0x21][..], &too_long].concat())),
        (h3::EXCESSIVE_LOAD, false, Bytes::from([0x21, 0].repeat(20))),
    ];
    let rig = Rig::new();
    let count = cases.len() as u64;
    for (code, is_uni, bytes) in cases {
        let hand = Hand::bare(&rig).await;
        if is_uni {
            hand.uni(&bytes).await;
        } else {
            hand.bi(&bytes).await;
        }
        assert_eq!(hand.closed().await, code.into_inner(), "{bytes:?}");
    }
    until(async || rig.counters.rejected.get() == count).await;
    for kind in [0, h3::QPACK_ENCODER_STREAM, h3::QPACK_DECODER_STREAM] {
        let hand = Hand::new(&rig).await;
        let _first = hand.uni(&uni(kind, b"")).await;
        let bytes = if kind == 0 { h3::settings() } else { uni(kind, b"") };
        hand.uni(&bytes).await;
        assert_eq!(hand.closed().await, h3::STREAM_CREATION_ERROR.into_inner());
    }
}

#[tokio::test]
async fn without_a_session_or_its_control_stream_a_connection_is_closed_in_time() {
    let mut rig = rig(short());
    let silent = Hand::bare(&rig).await;
    assert_eq!(silent.closed().await, CloseCode::Unauthenticated as u64);
    let settings_only = Hand::new(&rig).await;
    assert_eq!(settings_only.closed().await, CloseCode::Unauthenticated as u64);
    let no_settings = Hand::bare(&rig).await;
    let _request = no_settings.request(&CONNECT).await;
    assert_eq!(no_settings.closed().await, CloseCode::Unauthenticated as u64);
    let no_control = Hand::new(&rig).await;
    let _session = no_control.session().await;
    assert_eq!(no_control.closed().await, CloseCode::Unauthenticated as u64);
    let half_a_request = Hand::new(&rig).await;
    let _half = half_a_request.bi(&headers(&CONNECT)[..9]).await;
    assert_eq!(half_a_request.closed().await, CloseCode::Unauthenticated as u64);
    assert_eq!(rig.counters.no_session.get(), 5);
    assert!(rig.is_idle());
}

#[tokio::test]
async fn opening_and_resetting_again_and_again_closes_the_connection() {
    for with_session in [false, true] {
        let mut rig = Rig::new();
        let hand = Hand::new(&rig).await;
        let (id, _request, _answer) = hand.session().await;
        let mut parts = None;
        if with_session {
            let control = hand.bi(&of_session(id, &encoded(&signal("one", 1)))).await;
            parts = Some((control, rig.session().await));
        }
        let mut opened = 0;
        while let Ok((mut send, _recv)) = timeout(HANG, hand.connection.open_bi()).await.expect("stuck") {
            let _ = send.write_all(&[0x40]).await;
            let _ = send.reset(h3::NO_ERROR);
            opened += 1;
            assert!(opened < 10_000, "nothing ends it");
        }
        assert_eq!(hand.closed().await, h3::EXCESSIVE_LOAD.into_inner());
        if let Some((_control, mut session)) = parts {
            assert_eq!(session.frame().await, signal("one", 1));
            let event = session.event().await;
            assert!(matches!(event, Event::Gone(None)), "{event:?}");
        }
    }
}
