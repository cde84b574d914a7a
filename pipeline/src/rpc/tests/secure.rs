//! Who gets in: the token, TLS, and certificates of callers.

use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::*;
use crate::rpc::security::{Pem, Settings};
use crate::rpc::v1::GetHeadsRequest;
use crate::rpc::v1::chat_service_client::ChatServiceClient;

const TOKEN: &str = "a-token-for-these-tests";

impl World {
    /// Asks as somebody who has that.
    async fn ask_as(&self, settings: &Settings) -> Result<(), Status> {
        let connection = Security::new(settings).unwrap().connect(&self.address).unwrap();
        soon(ChatServiceClient::new(connection).get_heads(GetHeadsRequest::default())).await.map(drop)
    }
}

fn token(token: &str) -> Settings {
    Settings { token: Some(token.to_owned()), ..Settings::default() }
}

#[tokio::test]
async fn without_the_token_only_health_is_told() {
    let world = World::with(Security::new(&token(TOKEN)).unwrap()).await;
    world.ask_as(&token(TOKEN)).await.unwrap();
    for other in [Settings::default(), token("another-token-for-them")] {
        let status = world.ask_as(&other).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(!status.message().contains(TOKEN));
    }
    assert_eq!(world.metrics.rpc.requests(Code::Unauthenticated), 2);
    assert_eq!(world.metrics.rpc.requests(Code::Ok), 1);

    let stranger = Security::default().connect(&world.address).unwrap();
    HealthClient::new(stranger.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let list = MessageRequest::ListServices(String::new());
    let list = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let asked = futures_util::stream::iter([list]);
    let status = ServerReflectionClient::new(stranger).server_reflection_info(asked).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

/// An authority, and what it signs.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: Vec<u8>,
}

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem().into_bytes();
        Self { issuer: rcgen::Issuer::new(params, key), pem }
    }

    fn identity(&self) -> Pem {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem().into_bytes();
        Pem { chain, key: key.serialize_pem().into_bytes() }
    }
}

#[tokio::test]
async fn tls_is_believed_by_its_authority_only() {
    let (authority, other) = (Authority::new(), Authority::new());
    let identity = Some(authority.identity());
    let own = Settings { identity, ca: Some(authority.pem.clone()), ..token(TOKEN) };
    let world = World::with(Security::new(&own).unwrap()).await;
    world.ask_as(&own).await.unwrap();
    let believes = |ca: &Authority| Settings { ca: Some(ca.pem.clone()), ..token(TOKEN) };
    world.ask_as(&believes(&authority)).await.unwrap();
    // The connection is not made: a foreign authority, and plain text where TLS is spoken.
    for wrong in [believes(&other), token(TOKEN)] {
        world.ask_as(&wrong).await.unwrap_err();
    }
    // TLS alone is not enough where a token is asked for.
    let stranger = Settings { token: None, ..believes(&authority) };
    assert_eq!(world.ask_as(&stranger).await.unwrap_err().code(), Code::Unauthenticated);
    let answered = [Code::Ok, Code::Unauthenticated].map(|code| world.metrics.rpc.requests(code));
    assert_eq!(answered, [2, 1], "the others did not come so far");
}

#[tokio::test]
async fn callers_show_a_certificate_of_the_authority() {
    let (authority, other) = (Authority::new(), Authority::new());
    let own = Settings {
        identity: Some(authority.identity()),
        client_ca: Some(authority.pem.clone()),
        ca: Some(authority.pem.clone()),
        token: None,
    };
    let world = World::with(Security::new(&own).unwrap()).await;
    world.ask_as(&own).await.unwrap();
    let shows = |identity| Settings { identity, ca: Some(authority.pem.clone()), ..Settings::default() };
    world.ask_as(&shows(Some(authority.identity()))).await.unwrap();
    for wrong in [None, Some(other.identity())] {
        assert!(world.ask_as(&shows(wrong)).await.is_err());
    }
    assert_eq!(world.metrics.rpc.requests(Code::Ok), 2, "the others did not come so far");
}

#[tokio::test]
async fn a_renewed_certificate_is_for_whoever_comes_next() {
    let (first, second) = (Authority::new(), Authority::new());
    let of = |authority: &Authority| Settings {
        identity: Some(authority.identity()),
        ca: Some(authority.pem.clone()),
        ..Settings::default()
    };
    let believes = |ca: &Authority| Settings { ca: Some(ca.pem.clone()), ..Settings::default() };
    let world = World::with(Security::new(&of(&first)).unwrap()).await;
    let before = Security::new(&believes(&first)).unwrap().connect(&world.address).unwrap();
    let mut before = HealthClient::new(before);
    let mut watch = soon(before.watch(HealthCheckRequest::default())).await.unwrap().into_inner();
    let status = async |watch: &mut tonic::Streaming<_>| {
        let told: tonic_health::pb::HealthCheckResponse = soon(watch.message()).await.unwrap().unwrap();
        told.status()
    };
    let serving = status(&mut watch).await;

    let nonsense = Pem { chain: Vec::new(), key: Vec::new() };
    world.security.renew(&Settings { identity: Some(nonsense), ..of(&first) }).unwrap_err();
    world.ask_as(&believes(&first)).await.unwrap();
    world.security.renew(&of(&second)).unwrap();
    // The server takes it up in its own time.
    soon(async { while world.ask_as(&believes(&second)).await.is_err() {} }).await;
    world.ask_as(&believes(&first)).await.unwrap_err();
    let dials = world.security.connect(&world.address).unwrap();
    soon(ChatServiceClient::new(dials).get_heads(GetHeadsRequest::default())).await.unwrap();

    // What was under way goes on.
    world.health.set(false).await;
    assert_ne!(status(&mut watch).await, serving);
}
