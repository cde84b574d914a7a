//! What the HTTP edge asks of the gateway: tokens, messages of backends, the demo's addresses.

use std::sync::Arc;
use std::time::Duration;

use tidegate_certs::CertResolver;
use tidegate_pipeline::presence::lease::Lease;
use tidegate_pipeline::submit::{Submitted, Submitter};
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::v1::{Code, Msg};
use tracing::error;

use super::{Gateway, drain, now_ms};
use crate::auth::{Grants, Identity, SignError, Signer};
use crate::http;

/// The gateway as the HTTP edge sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Backend(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    gateway: Gateway,
    submitter: Submitter,
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
        let submitter = gateway.submitter();
        Self(Arc::new(Shared { gateway, submitter, development }))
    }
}

impl http::Backend for Backend {
    fn verify(&self, token: &str) -> Result<Identity, Refusal> {
        self.0.gateway.0.parts.auth.verify(token, now_ms())
    }

    async fn submit(&self, sender: UserId, msg: Msg) -> Result<http::Submitted, Refusal> {
        let Submitted { server_id, local_id, send_time } = self.0.submitter.submit(sender, msg).await?;
        Ok(http::Submitted { server_id, local_id, send_time })
    }

    fn demo_token(&self, user: &UserId, grants: &Grants) -> Result<http::DemoToken, Refusal> {
        let Some(development) = &self.0.development else { return Err(only_in_development()) };
        let now = now_ms();
        let token = development.signer.sign_granting(grants, user, None, DEMO_TOKEN_TTL, now);
        let token = token.map_err(|cause| {
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
        // Asked for by a person's page, at each connect.
        let elsewhere = Box::pin(drain::elsewhere(&self.0.gateway.0)).await;
        http::DemoConnect {
            webtransport: development.webtransport.clone(),
            websocket: development.websocket.clone(),
            cert_sha256: development.certificates.current().sha256().to_base64(),
            alternatives: elsewhere.iter().map(alternative).collect(),
        }
    }
}

impl http::Refusals for Backend {
    fn refused(&self, reason: &'static str) {
        tracing::debug!(reason, "request refused");
        self.0.gateway.0.parts.metrics.http_refused(reason);
    }
}

fn alternative(lease: &Lease) -> http::DemoAlternative {
    http::DemoAlternative { secure: lease.public.to_string(), plain: lease.demo.to_string() }
}

fn only_in_development() -> Refusal {
    Refusal::new(Code::NotFound, "tokens of the demo are made in development mode only")
}

/// A tab may stay open for a day before it asks again.
const DEMO_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
