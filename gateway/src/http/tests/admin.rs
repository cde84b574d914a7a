//! The operators' listener.

use super::*;

#[derive(Clone)]
struct Operator {
    not_ready: Option<&'static str>,
}

impl Admin for Operator {
    async fn ready(&self) -> Result<(), &'static str> {
        self.not_ready.map_or(Ok(()), Err)
    }

    fn metrics(&self) -> Result<String, std::fmt::Error> {
        Ok("# EOF\n".to_owned())
    }
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let running = Start::default().run_admin(Operator { not_ready: None }).await;
    let ask = async |path: &str| running.request(&format!("GET {path} HTTP/1.1")).await;
    let health = ask("/health").await;
    assert_eq!((health.status, &*health.body), (200, "ok\n"));
    let ready = ask("/ready").await;
    assert_eq!((ready.status, &*ready.body), (200, "ready\n"));
    let metrics = ask("/metrics").await;
    assert_eq!((metrics.status, &*metrics.body), (200, "# EOF\n"));
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    running.stop().await;
}

#[tokio::test]
async fn who_is_not_ready_says_why_and_is_healthy() {
    let running = Start::default().run_admin(Operator { not_ready: Some("a reason") }).await;
    let ready = running.request("GET /ready HTTP/1.1").await;
    assert_eq!((ready.status, &*ready.body), (503, "not ready: a reason\n"));
    assert_eq!(running.request("GET /health HTTP/1.1").await.status, 200);
    running.stop().await;
}

#[tokio::test]
async fn nothing_else_is_served_there() {
    let running = Start::default().run_admin(Operator { not_ready: None }).await;
    for path in ["/", "/ws", "/demo/token?user=alice", "/api/v1/messages", "/metrics/"] {
        assert_eq!(running.request(&format!("GET {path} HTTP/1.1")).await.status, 404, "{path}");
    }
    assert_eq!(running.request("POST /metrics HTTP/1.1").await.status, 405);
    running.stop().await;
}
