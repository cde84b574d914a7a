//! `POST /api/v1/messages`.

use super::*;

async fn post(running: &Running, key: &str, body: &str) -> Answer {
    post_to(running, "/api/v1/messages", key, body).await
}

async fn post_to(running: &Running, path: &str, key: &str, body: &str) -> Answer {
    let head =
        format!("POST {path} HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Length: {}", body.len());
    running.request_with(&head, body).await
}

#[tokio::test]
async fn a_message_as_a_user_and_as_the_system() {
    let running = Start::default().run().await;
    let body = r#"{"send_id":"alice","receiver_id":"bob","local_id":"1","content":"hi"}"#;
    let answer = post(&running, "first-key", body).await;
    let expected = serde_json::json!({"server_id": "ab", "local_id": "1", "send_time": 7});
    assert_eq!((answer.status, answer.json()), (200, expected));
    assert_eq!(post(&running, "second-key", r#"{"receiver_id":"bob"}"#).await.status, 200);
    let submitted = running.gateway.0.submitted.lock().clone();
    assert_eq!(submitted.iter().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["alice", "@system"]);
    assert_eq!((&*submitted[0].1.receiver_id, &submitted[0].1.content[..]), ("bob", &b"hi"[..]));
}

#[tokio::test]
async fn a_message_to_a_channel() {
    let running = Start::default().run().await;
    for path in ["news/sport", "news%2Fsport", "%6eews/sport"] {
        let path = format!("/api/v1/channels/{path}/messages");
        for body in
            [r#"{"send_id":"alice","content":"goal"}"#, r#"{"channel":"news/sport","content":"goal"}"#]
        {
            assert_eq!(post_to(&running, &path, "first-key", body).await.status, 200, "{path}");
        }
    }
    let submitted = running.gateway.0.submitted.lock().clone();
    assert_eq!(submitted.len(), 6);
    assert!(submitted.iter().all(|(_, msg)| msg.channel == "news/sport" && &msg.content[..] == b"goal"));
    assert_eq!((submitted[0].0.as_str(), submitted[1].0.as_str()), ("alice", "@system"));
}

#[tokio::test]
async fn what_is_no_message_to_a_channel_is_refused() {
    let running = Start::default().run().await;
    let long = "x".repeat(129);
    for (name, body) in [
        ("", "{}"),
        (&*long, "{}"),
        ("a%20b", "{}"),
        ("news%00", "{}"),
        ("news:sport", "{}"),
        ("%ff", "{}"),
        ("a%zz", "{}"),
        ("news", r#"{"channel":"other"}"#),
        ("news", r#"{"send_id":"a b"}"#),
        ("news", "no JSON"),
    ] {
        let path = format!("/api/v1/channels/{name}/messages");
        let answer = post_to(&running, &path, "first-key", body).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (400, &"INVALID_ARGUMENT".into()),
            "{path} {body}"
        );
    }
    let answer = post_to(&running, "/api/v1/channels/news/messages", "third-key", "{}").await;
    assert_eq!((answer.status, &answer.json()["code"]), (401, &"UNAUTHENTICATED".into()));
    for path in ["/api/v1/channels/news", "/api/v1/channels/news%2Fmessages", "/api/v1/channels/"] {
        let answer = post_to(&running, path, "first-key", "{}").await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"NOT_FOUND".into()), "{path}");
    }
    let answer = running.request_with("GET /api/v1/channels/news/messages HTTP/1.1", "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("post")));
    assert!(running.gateway.0.submitted.lock().is_empty());
}

#[tokio::test]
async fn a_key_is_needed() {
    let running = Start::default().run().await;
    for line in [
        "X: y",
        "Authorization: Bearer third-key",
        "Authorization: first-key",
        "Authorization: Basic first-key",
    ] {
        let head = format!("POST /api/v1/messages HTTP/1.1\r\n{line}\r\nContent-Length: 2");
        let answer = running.request_with(&head, "{}").await;
        assert_eq!((answer.status, &answer.json()["code"]), (401, &"UNAUTHENTICATED".into()), "{line}");
    }
    assert!(running.gateway.0.submitted.lock().is_empty());
}

#[tokio::test]
async fn refusals_have_their_status() {
    let running = Start::default().run().await;
    for (body, status, code) in [
        ("no JSON", 400, "INVALID_ARGUMENT"),
        ("[]", 400, "INVALID_ARGUMENT"),
        (r#"{"send_id":"a b"}"#, 400, "INVALID_ARGUMENT"),
        (r#"{"local_id":"conflict"}"#, 409, "CONFLICT"),
        (r#"{"local_id":"limited"}"#, 429, "RATE_LIMITED"),
        (r#"{"local_id":"down"}"#, 503, "UNAVAILABLE"),
        (&format!(r#"{{"content":"{}"}}"#, "x".repeat(128 * 1024)), 413, "TOO_LARGE"),
    ] {
        let answer = post(&running, "first-key", body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code.into()));
        assert_eq!(answer.header("retry-after"), (status == 429).then_some("2"));
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    let running = Start::default().run().await;
    let mut tcp = running.connect().await;
    let head = "POST /api/v1/messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer first-key\r\n\
                Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    tcp.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = tcp.into_split();
    let flood = async {
        let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
        let mut sent = 0u64;
        // Up to the reset: the server takes no more than its limit and what the system buffers.
        while write.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 0x4000;
            assert!(sent < 1 << 28, "the server swallows everything");
        }
    };
    let answer = async {
        let mut answer = [0; 12];
        read.read_exact(&mut answer).await.map(|_| answer)
    };
    let (answer, ()) = tokio::join!(answer, flood);
    assert_eq!(answer.unwrap(), *b"HTTP/1.1 413");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_and_a_log_that_does_not_answer() {
    let running = Start::default().run().await;
    let head = "POST /api/v1/messages HTTP/1.1\r\nAuthorization: Bearer first-key\r\nContent-Length: 10";
    assert_eq!(running.request_with(head, "{").await.status, 408);
    assert_eq!(post(&running, "first-key", r#"{"local_id":"never"}"#).await.status, 503);
}
