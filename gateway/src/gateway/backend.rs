//! What the HTTP edge asks of the gateway: tokens, messages of backends, the demo's addresses.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_certs::CertResolver;
use tidegate_pipeline::log::{Answer, Answers, Waiter, outcome_unknown};
use tidegate_pipeline::record::Record;
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::message::Target;
use tidegate_proto::v1::{Code, Msg};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::error;

use super::{Gateway, drain, now_ms};
use crate::auth::{Identity, SignError, Signer};
use crate::http;
use crate::session::draw_local_id;

/// The gateway as the HTTP edge sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Backend(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gateway: Gateway,
    development: Option<Development>,
}

/// What only development mode has.
#[derive(Debug)]
pub struct Development {
    /// Makes the demo's tokens.
    pub signer: Signer,
    /// Whose fingerprint a page needs to connect.
    pub certificates: Arc<CertResolver>,
    /// Where the demo connects by WebTransport.
    pub webtransport: String,
    /// Where the demo connects by WebSocket.
    pub websocket: String,
}

impl Backend {
    /// The gateway, with the conveniences of development mode or without.
    pub fn new(gateway: Gateway, development: Option<Development>) -> Self {
        Self(Arc::new(Shared { gateway, development }))
    }

    async fn append(&self, sender: UserId, msg: Msg) -> Result<http::Submitted, Refusal> {
        let record = Record::new(msg, &sender, now_ms(), draw_local_id, None)?;
        if !matches!(record.target, Target::User(_)) {
            return Err(Refusal::new(Code::Unimplemented, "groups and channels are not built yet"));
        }
        let (server_id, local_id) = (record.server_id.clone(), record.local_id.as_str().to_owned());
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter::new(Arc::new(One(Mutex::new(Some(answer)))), 0);
        let outcome = timeout(ANSWER_TIMEOUT, async {
            // A closed log has told the waiter.
            let _ = self.0.gateway.0.parts.log.append(record, waiter).await;
            answered.await
        });
        match outcome.await {
            Ok(Ok(Answer::Accepted { send_time })) => Ok(http::Submitted { server_id, local_id, send_time }),
            Ok(Ok(Answer::Rejected(refusal))) => Err(refusal),
            Ok(Err(_)) | Err(_) => Err(outcome_unknown()),
        }
    }
}

impl http::Backend for Backend {
    fn verify(&self, token: &str) -> Result<Identity, Refusal> {
        self.0.gateway.0.parts.auth.verify(token, now_ms())
    }

    async fn submit(&self, sender: UserId, msg: Msg) -> Result<http::Submitted, Refusal> {
        let metrics = &self.0.gateway.0.parts.metrics;
        metrics.received.inc();
        let submitted = self.append(sender, msg).await;
        match &submitted {
            Ok(_) => _ = metrics.accepted.inc(),
            Err(refusal) => metrics.message_rejected(refusal.code as i32),
        }
        submitted
    }

    fn demo_token(&self, user: &UserId) -> Result<http::DemoToken, Refusal> {
        let Some(development) = &self.0.development else { return Err(only_in_development()) };
        let now = now_ms();
        let token = development.signer.sign(user, None, DEMO_TOKEN_TTL, now).map_err(|cause| {
            if let SignError::Failed(cause) = &cause {
                error!(error = cause as &dyn std::error::Error, "no token for the demo");
            }
            Refusal::invalid(cause.to_string())
        })?;
        let expires_at = now + i64::try_from(DEMO_TOKEN_TTL.as_millis()).unwrap_or(i64::MAX);
        Ok(http::DemoToken { token, user: user.as_str().to_owned(), expires_at })
    }

    async fn demo_connect(&self) -> http::DemoConnect {
        // Asked for in development mode only; elsewhere there is nothing to say.
        let Some(development) = &self.0.development else {
            return http::DemoConnect {
                webtransport: String::new(),
                websocket: String::new(),
                cert_sha256: String::new(),
                alternatives: Vec::new(),
            };
        };
        http::DemoConnect {
            webtransport: development.webtransport.clone(),
            websocket: development.websocket.clone(),
            cert_sha256: development.certificates.current().sha256().to_base64(),
            // Asked for by a person's page, at each connect.
            alternatives: Box::pin(drain::elsewhere(&self.0.gateway.0)).await,
        }
    }
}

impl http::Refusals for Backend {
    fn refused(&self, reason: &'static str) {
        tracing::debug!(reason, "request refused");
        self.0.gateway.0.parts.metrics.http_refused(reason);
    }
}

fn only_in_development() -> Refusal {
    Refusal::new(Code::NotFound, "tokens of the demo are made in development mode only")
}

/// Takes the one answer of a request.
#[derive(Debug)]
struct One(Mutex<Option<oneshot::Sender<Answer>>>);

impl Answers for One {
    fn answer(&self, _tag: u64, answer: Answer) {
        if let Some(waiting) = self.0.lock().take() {
            // Whoever asked may have gone.
            let _ = waiting.send(answer);
        }
    }
}

/// After this long a backend is told that the outcome is unknown, like a session.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A tab may stay open for a day before it asks again.
const DEMO_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
