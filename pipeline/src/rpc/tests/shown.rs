//! What the server says of itself: health and reflection, and how it ends.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use super::*;
use crate::rpc::v1::chat_service_client::ChatServiceClient;
use crate::rpc::v1::{GetHeadsRequest, SendMsgRequest};

const OURS: [&str; 5] = [
    "chat.Chat",
    "chat.Notify",
    "tidegate.v1.ChatService",
    "tidegate.v1.DbService",
    "tidegate.v1.PushService",
];

impl World {
    async fn is_healthy(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest { service: service.into() };
        let answer = soon(HealthClient::new(self.connect()).check(request)).await.unwrap();
        answer.into_inner().status()
    }
}

#[tokio::test]
async fn health_is_of_the_process_and_of_each_service() {
    let world = World::new().await;
    for service in OURS.into_iter().chain([""]) {
        assert_eq!(world.is_healthy(service).await, ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest { service: "tidegate.v1.AdminService".into() };
    let status = HealthClient::new(world.connect()).check(unknown).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);

    let mut watch = HealthClient::new(world.connect());
    let watched = watch.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watched = watched.into_inner();
    assert_eq!(soon(watched.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    world.health.set(false).await;
    assert_eq!(soon(watched.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(world.is_healthy(OURS[2]).await, ServingStatus::NotServing);
    // Only probers look at that; requests are answered to the last.
    ChatServiceClient::new(world.connect()).get_heads(GetHeadsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn at_the_end_what_is_under_way_is_answered_and_what_does_not_end_is_cut_off() {
    let world = World::new().await;
    let connection = world.connect();
    let mut watched = HealthClient::new(connection.clone())
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    watched.message().await.unwrap();
    let mut chat = ChatServiceClient::new(connection);
    chat.send_msg(SendMsgRequest { msg: Some(msg("alice", "bob", "m1")) }).await.unwrap();
    assert_eq!(world.metrics.rpc.connections.get(), 1);

    world.stop.cancel();
    assert_eq!(soon(watched.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    soon(watched.message()).await.unwrap_err();
    soon(world.served).await.unwrap().unwrap();
    assert_eq!(world.metrics.rpc.connections.get(), 0);
    // Nothing of the server is left that could append.
    soon(world.sequencer).await.unwrap();
    assert!(chat.get_heads(GetHeadsRequest::default()).await.is_err());
}

#[tokio::test]
async fn reflection_lists_what_there_is_in_both_versions() {
    use v1::server_reflection_request::MessageRequest;
    use v1::server_reflection_response::MessageResponse;
    let world = World::new().await;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(world.connect());
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("tidegate.v1.ChatService".into()),
        MessageRequest::FileContainingSymbol("tidegate.v1.Msg".into()),
    ];
    let asked = asked.map(|message_request| v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    });
    let mut answers =
        client.server_reflection_info(futures_util::stream::iter(asked)).await.unwrap().into_inner();
    let mut answer = async || soon(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer().await else { panic!("no list") };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    let is_listed = |name: &str| names.iter().any(|listed| listed == name);
    assert!(OURS.iter().all(|name| is_listed(name)) && is_listed("grpc.health.v1.Health"), "{names:?}");
    assert!(!is_listed("tidegate.v1.AdminService"), "it is not served here: {names:?}");
    for file in ["tidegate/v1/services.proto", "tidegate/v1/message.proto"] {
        let MessageResponse::FileDescriptorResponse(found) = answer().await else { panic!("no file") };
        let found = found
            .file_descriptor_proto
            .iter()
            .any(|bytes| bytes.windows(file.len()).any(|part| part == file.as_bytes()));
        assert!(found, "{file}");
    }

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(world.connect());
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let answers = client.server_reflection_info(futures_util::stream::iter([request])).await.unwrap();
    let answer = soon(answers.into_inner().message()).await.unwrap().unwrap().message_response;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed)) = answer
    else {
        panic!("no list: {answer:?}")
    };
    let older: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    assert_eq!(older, names);
}
