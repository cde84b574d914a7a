//! What stands before every service: the token, the count of requests under way, the metrics.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use tidegate_proto::Refusal;
use tidegate_proto::v1::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::{Code as Grpc, Status};

use super::metrics::Metrics;
use super::security::Security;
use super::status;

/// The services behind it.
#[derive(Clone)]
pub(super) struct Guard {
    routes: Routes,
    security: Arc<Security>,
    requests: Arc<Semaphore>,
    metrics: Metrics,
}

impl Guard {
    pub(super) fn new(routes: Routes, security: Security, metrics: Metrics) -> Self {
        let requests = Arc::new(Semaphore::new(MAX_REQUESTS));
        Self { routes, security: Arc::new(security), requests, metrics }
    }

    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Status> {
        if !path.starts_with(HEALTH) && !self.security.admits(headers) {
            let message = "send the metadata authorization: Bearer with rpc.token of the configuration";
            return Err(status::refused(&Refusal::new(Code::Unauthenticated, message)));
        }
        let busy = |_| status::unavailable("too many requests at once; nothing was done");
        self.requests.clone().try_acquire_owned().map_err(busy)
    }
}

impl Service<Request<Body>> for Guard {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let metrics = self.metrics.clone();
        match self.admit(request.uri().path(), request.headers()) {
            Err(status) => {
                metrics.answered(status.code());
                Box::pin(ready(Ok(status.into_http())))
            }
            Ok(place) => {
                let answer = self.routes.call(request);
                Box::pin(async move {
                    let answer = answer.await?;
                    drop(place);
                    metrics.answered(code(answer.headers()));
                    Ok(answer)
                })
            }
        }
    }
}

/// An answer that is an error says so in its head; what becomes of a stream later is not looked at.
fn code(headers: &HeaderMap) -> Grpc {
    headers.get(Status::GRPC_STATUS).map_or(Grpc::Ok, |code| Grpc::from_bytes(code.as_bytes()))
}

/// Probers have no token.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Requests under way in the process; a stream counts until it has begun. With the largest message each some 74 MiB.
const MAX_REQUESTS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beyond_the_limit_a_request_is_told_to_come_back() {
        let metrics = Metrics::default();
        let mut guard = Guard::new(Routes::default(), Security::default(), metrics.clone());
        guard.requests = Arc::new(Semaphore::new(0));
        let answer = guard.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(code(answer.headers()), Grpc::Unavailable);
        guard.requests.add_permits(1);
        let unknown = Request::builder().uri("/no.such.Service/Method").body(Body::empty()).unwrap();
        let answer = guard.call(unknown).await.unwrap();
        assert_eq!(code(answer.headers()), Grpc::Unimplemented);
        assert_eq!((metrics.requests(Grpc::Unavailable), metrics.requests(Grpc::Unimplemented)), (1, 1));
        assert_eq!(guard.requests.available_permits(), 1, "the place is free again");
    }
}
