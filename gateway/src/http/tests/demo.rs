//! The demo's files and what its page asks for.

use tidegate_proto::id::ChannelName;

use super::*;
use crate::auth::Patterns;

#[tokio::test]
async fn files_with_their_types_and_tags() {
    let running = Start::default().run().await;
    let page = running.request("GET / HTTP/1.1").await;
    assert_eq!((page.status, &*page.body), (200, "<!doctype html>"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self';"));

    let script = running.request("GET /assets/app.js?v=1 HTTP/1.1").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let tag = script.header("etag").unwrap();
    assert_ne!(Some(tag), page.header("etag"));
    let again =
        running.request(&format!("GET /assets/app.js HTTP/1.1\r\nIf-None-Match: \"x\", W/{tag}")).await;
    assert_eq!((again.status, &*again.body), (304, ""));
    let head = running.request("HEAD / HTTP/1.1").await;
    assert_eq!((head.status, &*head.body, head.header("content-length")), (200, "", Some("15")));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_allowed() {
    let running = Start::default().run().await;
    for path in ["/none", "/../Cargo.toml", "/ws/a/conn", "/%2e%2e/x", "/api/v1/other"] {
        let answer = running.request(&format!("GET {path} HTTP/1.1")).await;
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"NOT_FOUND".into()), "{path}");
    }
    for (request, allowed) in [
        ("DELETE / HTTP/1.1", "get, head"),
        ("GET /api/v1/messages HTTP/1.1", "post"),
        ("POST /demo/connect HTTP/1.1\r\nContent-Length: 0", "get,head"),
    ] {
        let answer = running.request(request).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{request}");
        assert_eq!(answer.json()["code"], "INVALID_ARGUMENT");
    }
}

#[tokio::test]
async fn a_token_and_where_to_connect() {
    let running = Start::default().run().await;
    let token = running.request("GET /demo/token?user=alice HTTP/1.1").await;
    let expected = serde_json::json!({"token": "for-alice-", "user": "alice", "expires_at": 9});
    assert_eq!((token.status, token.json()), (200, expected));
    assert_eq!(token.header("cache-control"), Some("no-store"));
    let connect = running.request("GET /demo/connect HTTP/1.1").await;
    let expected = serde_json::json!({
        "webtransport": "https://a/wt", "websocket": "ws://b/ws", "cert_sha256": "c",
        "alternatives": [{"secure": "d:1", "plain": "d:2"}],
    });
    assert_eq!((connect.status, connect.json()), (200, expected));
    let granting = "GET /demo/token?user=alice&subscribe=news/**,room&publish=room HTTP/1.1";
    assert_eq!(running.request(granting).await.status, 200);
    let granted = running.gateway.0.granted.lock().pop().unwrap();
    let covers = |patterns: &Patterns, name| patterns.cover(&ChannelName::new(name).unwrap());
    assert!(covers(&granted.subscribe, "news/sport") && covers(&granted.subscribe, "room"));
    assert!(covers(&granted.publish, "room") && !covers(&granted.publish, "news/sport"));
    assert_eq!(running.request("GET /demo/token?user=alice&publish=a** HTTP/1.1").await.status, 400);
    assert_eq!(running.request("GET /demo/token?user=a%20b HTTP/1.1").await.status, 400);
    assert_eq!(running.request("GET /demo/token HTTP/1.1").await.status, 400);
}

#[tokio::test]
async fn a_foreign_page_gets_nothing() {
    let running = Start::default().run().await;
    let port = running.address.port();
    for lines in [
        "Origin: https://evil.example".to_owned(),
        "Origin: null".to_owned(),
        "Origin: https://allowed.example".to_owned(),
        "Host: evil.example".to_owned(),
        format!("Host: evil.example:{port}"),
        format!("Host: localhost:{}", port ^ 1),
        "Sec-Fetch-Site: cross-site".to_owned(),
        "Sec-Fetch-Site: same-site".to_owned(),
    ] {
        for path in ["/demo/token?user=alice", "/demo/connect"] {
            let answer = running.request(&format!("GET {path} HTTP/1.1\r\n{lines}")).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (403, &"PERMISSION_DENIED".into()),
                "{lines}"
            );
        }
    }
    let own = format!(
        "GET /demo/connect HTTP/1.1\r\nOrigin: http://localhost:{port}\r\nSec-Fetch-Site: same-origin"
    );
    assert_eq!(running.request(&own).await.status, 200);
}

#[tokio::test]
async fn outside_development_mode_there_is_no_demo_token() {
    let running = Start { development: false, ..Start::default() }.run().await;
    for path in ["/demo/token?user=alice", "/demo/connect"] {
        assert_eq!(running.request(&format!("GET {path} HTTP/1.1")).await.status, 404);
    }
}
