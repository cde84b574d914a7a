//! Clients that read fast, slowly or not at all, and silent ones.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_costs_what_is_queued() {
    let (mut server, client) = new_server(Form::Binary { token: None }, 1000);
    for seq in 1..=10 {
        server.send(deliver(seq, 2000));
    }
    let queued = server.queued_bytes();
    assert!(matches!(server.next(true).await, Event::Written));
    assert_eq!(server.written_bytes(), 1000);
    let left = server.queued_bytes();
    assert!((queued - 1000..=queued - 1000 + 10).contains(&left), "{left} of {queued}");
    assert!(server.next(true).now_or_never().is_none());
    // It is still heard, and its pings fill nothing.
    let mut client = client;
    for id in 0..50 {
        client.write_all(&raw(0x89, b"ping")).await.unwrap();
        client.write_all(&raw(0x82, &wire(&[ping(id)]))).await.unwrap();
        assert_eq!(frame_of(server.next(true).await), ping(id));
    }
    assert_eq!(server.queued_bytes(), left);
    // With `read` false it is not.
    client.write_all(&raw(0x82, &wire(&[ping(99)]))).await.unwrap();
    assert!(server.next(false).now_or_never().is_none());

    let mut client = ClientBuilder::new().take_over(client);
    let writing = async {
        while server.queued_bytes() > 0 {
            assert!(matches!(server.next(false).await, Event::Written));
        }
    };
    let (_, message) = tokio::join!(writing, client.next());
    assert_eq!(frames(&message.unwrap().unwrap()).len(), 10);
    assert_eq!(frame_of(server.next(true).await), ping(99));
}

#[tokio::test(start_paused = true)]
async fn writing_and_reading_take_turns() {
    let (mut server, mut client) = binary();
    let (mut frames, mut written) = (0, 0);
    for _ in 0..20 {
        // A fast client that sends and takes, and a session that always has more for it.
        client.send(Message::binary(wire(&[ping(1)]))).await.unwrap();
        server.send(deliver(1, 20_000));
        match server.next(true).await {
            Event::Frame(_) => frames += 1,
            Event::Written => written += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(frames >= 9 && written >= 9, "{frames} frames, {written} times written");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_pings_lives_and_a_silent_one_does_not() {
    let (mut server, mut client) = binary();
    let started = Instant::now();
    // The client's library answers pings as it reads.
    let reading = tokio::time::timeout(Duration::from_secs(600), async {
        while let Some(message) = client.next().await {
            assert!(message.unwrap().is_ping());
        }
    });
    let serving = tokio::time::timeout(Duration::from_secs(600), server.next(true));
    let (event, _) = tokio::join!(serving, reading);
    assert!(event.is_err(), "{event:?}");
    assert!(started.elapsed() >= Duration::from_secs(600));

    let (mut server, mut client) = new_server(Form::Binary { token: None }, 1000);
    let started = Instant::now();
    assert!(matches!(server.next(true).await, Event::Gone(Some(4002))));
    assert_eq!(started.elapsed().as_secs(), 75, "three ticks: ping, ping, end");
    let mut got = Vec::new();
    drop(server);
    client.read_to_end(&mut got).await.unwrap();
    assert!(got.starts_with(b"\x89\0\x89\0\x88\x18\x0f\xa2"), "{got:x?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_silent() {
    let (mut server, mut client) = new_server(Form::Binary { token: None }, 1000);
    server.send(deliver(1, 60_000));
    let reading = async {
        let mut piece = [0; 500];
        // It takes a little at a time; the pings stand behind it all.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_secs(20)).await;
            let read = client.read(&mut piece).await.unwrap();
            assert!(read > 0);
        }
    };
    let serving = async {
        loop {
            match server.next(true).await {
                Event::Written => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = serving => {}
    }
}
