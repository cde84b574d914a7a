//! What gRPC does to sessions: messages that are stored nowhere, over two gateways, and what operators ask.

use std::collections::BTreeSet;

use tidegate_pipeline::presence::lease::{Lease, State};
use tidegate_pipeline::presence::redis;
use tidegate_pipeline::rpc::push::{self, Own};
use tidegate_pipeline::rpc::security::Connection;
use tidegate_pipeline::rpc::v1::admin_service_client::AdminServiceClient;
use tidegate_pipeline::rpc::v1::msg_service_client::MsgServiceClient;
use tidegate_pipeline::rpc::v1::push_service_client::PushServiceClient;
use tidegate_pipeline::rpc::v1::registry_service_client::RegistryServiceClient;
use tidegate_pipeline::rpc::v1::{
    DrainRequest, GetStatusRequest, KickRequest, ListInstancesRequest, ListSessionsRequest,
    PushSingleMsgResponse, SendMsgRequest, SendMsgToUserRequest, instance, kick_request,
};
use tidegate_pipeline::rpc::{Metrics as RpcMetrics, Security, Server, registry};
use tokio::net::TcpListener;

use super::*;
use crate::rpc::{MsgService, admin};

/// A gateway with its gRPC.
pub(super) struct Asked {
    pub(super) world: World,
    connection: Connection,
    drain: CancellationToken,
}

impl Asked {
    #[expect(clippy::disallowed_methods, reason = "the assembly of these tests")]
    async fn new(id: &str, presence: &Presence) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let world = World::of(Settings::default(), (id, &address), presence.clone()).await;
        let drain = CancellationToken::new();
        let sessions = Arc::new(world.gateway.clone());
        let own = Own { gateway: id.into(), sessions };
        let security = Security::default();
        let server = Server::new(security.clone(), RpcMetrics::default())
            .with(MsgService::server(world.gateway.clone()))
            .with(admin::service(&world.gateway, drain.clone()))
            .with(push::service(presence.clone(), security.clone(), Some(own)))
            .with(registry::service(presence.clone()));
        tokio::spawn(server.serve(vec![listener], world.stop.clone()));
        Self { world, connection: security.connect(&address).unwrap(), drain }
    }

    /// Two gateways of one presence, each with its lease.
    pub(super) async fn two() -> (Self, Self) {
        Self::two_of(Presence::Memory(memory::Presence::default())).await
    }

    async fn two_of(presence: Presence) -> (Self, Self) {
        let (one, two) = (Self::new("one", &presence).await, Self::new("two", &presence).await);
        let both = async || (presence.leases().await.unwrap().len() == 2).then_some(());
        one.world.eventually(both).await;
        (one, two)
    }

    fn admin(&self) -> AdminServiceClient<Connection> {
        AdminServiceClient::new(self.connection.clone())
    }

    async fn kick(&self, who: kick_request::Who) -> Result<u32, tonic::Status> {
        let kicked = self.admin().kick(KickRequest { who: Some(who) }).await?;
        Ok(kicked.into_inner().sessions)
    }
}

fn msg(to: &str, content: &str) -> Msg {
    Msg {
        send_id: "alice".into(),
        receiver_id: to.into(),
        content: content.to_owned().into(),
        ..Msg::default()
    }
}

#[tokio::test]
async fn a_volatile_message_reaches_every_session_on_every_gateway_past_its_feed() {
    let (one, two) = Asked::two().await;
    let (mut alice, _) = one.world.connect("alice", "phone").await;
    let (mut phone, _) = one.world.connect("bob", "phone").await;
    let (mut tablet, _) = two.world.connect("bob", "tablet").await;
    let mut client = PushServiceClient::new(one.connection.clone());
    let pushed = client.push_single_msg(SendMsgRequest { msg: Some(msg("bob", "now")) }).await.unwrap();
    assert_eq!(pushed.into_inner(), PushSingleMsgResponse { sessions: 2, unreachable: 0 });
    let (here, there) = (phone.delivered().await, tablet.delivered().await);
    assert_eq!(here, there, "the same message, its ids and its time too");
    let (seq, msg) = here;
    assert_eq!((seq, msg.seq, msg.conv_seq, &msg.content[..]), (0, 0, 0, &b"now"[..]));
    assert_eq!((&*msg.send_id, &*msg.conversation, msg.server_id.len()), ("alice", "d:alice:bob", 32));
    assert!(msg.send_time > 0);

    // It has no place in the inbox: the first one stored is the first.
    alice.message("bob", "m1", "later").await;
    assert_eq!((alice.stored().await.seq, phone.delivered().await.0), (1, 1));
}

#[tokio::test]
async fn a_gateway_hands_to_its_own_sessions_only() {
    let (one, two) = Asked::two().await;
    let (mut bob, _) = one.world.connect("bob", "phone").await;
    let (mut carol, _) = one.world.connect("carol", "phone").await;
    let to_bob = SendMsgRequest { msg: Some(msg("bob", "for bob")) };
    let mut client = MsgServiceClient::new(one.connection.clone());
    assert_eq!(client.send_message(to_bob.clone()).await.unwrap().into_inner().sessions, 1);
    assert_eq!(bob.delivered().await.1.content, "for bob");
    let for_carol = SendMsgToUserRequest { user: "carol".into(), msg: to_bob.msg.clone() };
    assert_eq!(client.send_msg_to_user(for_carol).await.unwrap().into_inner().sessions, 1);
    let (_, msg) = carol.delivered().await;
    assert_eq!((&*msg.receiver_id, &msg.content[..]), ("bob", &b"for bob"[..]));

    let mut elsewhere = MsgServiceClient::new(two.connection.clone());
    assert_eq!(elsewhere.send_message(to_bob).await.unwrap().into_inner().sessions, 0);
    let nobody = SendMsgToUserRequest { user: "a b".into(), msg: None };
    assert_eq!(elsewhere.send_msg_to_user(nobody).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    let nothing = elsewhere.send_message(SendMsgRequest { msg: None }).await.unwrap_err();
    assert_eq!(nothing.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn sessions_and_instances_are_listed() {
    let (one, two) = Asked::two().await;
    let (_bob, welcome) = one.world.connect("bob", "phone").await;
    let _others = [one.world.connect("carol", "phone").await, one.world.connect("dave", "phone").await];
    let (_tablet, elsewhere) = two.world.connect("bob", "tablet").await;

    let mut listed = Vec::new();
    let mut request = ListSessionsRequest { limit: 2, ..ListSessionsRequest::default() };
    loop {
        let page = one.admin().list_sessions(request.clone()).await.unwrap().into_inner();
        listed.extend(page.sessions);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed.iter().map(|one| &*one.user).collect::<Vec<_>>(), ["bob", "carol", "dave"]);
    assert_eq!((&listed[0].session_id, &*listed[0].device_id), (&welcome.session_id, "phone"));
    assert!(listed[0].since > 0 && listed[0].attempt == 1);

    let of_bob = ListSessionsRequest { user: "bob".into(), ..ListSessionsRequest::default() };
    let of_bob = two.admin().list_sessions(of_bob).await.unwrap().into_inner().sessions;
    let ids = of_bob.iter().map(|session| &*session.session_id).collect::<BTreeSet<_>>();
    assert_eq!(ids, BTreeSet::from([&*welcome.session_id, &*elsewhere.session_id]));

    let lease = Lease::new(Role::Pipeline, "one".into(), "127.0.0.1:1".into());
    let pipeline = Lease { state: State::Draining, ..lease };
    two.world.presence.begin_lease(&pipeline).await.unwrap();
    let mut registry = RegistryServiceClient::new(two.connection.clone());
    let listed = registry.list_instances(ListInstancesRequest {}).await.unwrap().into_inner().instances;
    let shown = listed.iter().map(|one| (&*one.id, one.roles().collect::<Vec<_>>(), one.state()));
    use instance::{Role::Gateway, Role::Pipeline, State::Draining, State::Up};
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            ("one", vec![Gateway, Pipeline], Up),
            ("one", vec![Pipeline], Draining),
            ("two", vec![Gateway, Pipeline], Up)
        ]
    );
    assert!(listed.iter().all(|one| one.address.starts_with("127.0.0.1:")));
    let status = one.admin().get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.sessions, status.gateway.as_ref()), (3, Some(&listed[0])));
    assert_eq!((&*status.epoch, &*status.version), (&*welcome.epoch, env!("CARGO_PKG_VERSION")));

    for wrong in [
        ListSessionsRequest { limit: 501, ..ListSessionsRequest::default() },
        ListSessionsRequest { page_token: "x".into(), ..ListSessionsRequest::default() },
        ListSessionsRequest { user: "a b".into(), ..ListSessionsRequest::default() },
    ] {
        let refused = one.admin().list_sessions(wrong).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_kicked_session_is_closed_and_others_live_on() {
    use kick_request::Who;
    let (one, _two) = Asked::two().await;
    let (mut phone, welcome) = one.world.connect("bob", "phone").await;
    let (mut tablet, _) = one.world.connect("bob", "tablet").await;
    let (mut carol, _) = one.world.connect("carol", "phone").await;
    assert_eq!(one.kick(Who::SessionId(welcome.session_id.clone())).await.unwrap(), 1);
    assert_eq!(phone.closed().await, CloseCode::Kicked);
    let (rest, session) = welcome.session_id.rsplit_once('-').unwrap();
    for gone in [format!("one-1-{session}"), format!("nowhere-1-{session}"), format!("{rest}-4711")] {
        assert_eq!(one.kick(Who::SessionId(gone)).await.unwrap(), 0);
    }
    assert_eq!(one.kick(Who::User("bob".into())).await.unwrap(), 1);
    assert_eq!(tablet.closed().await, CloseCode::Kicked);
    assert_eq!(one.kick(Who::User("nobody".into())).await.unwrap(), 0);
    for wrong in [Who::User("a b".into()), Who::SessionId("x".into()), Who::SessionId("a-z-1".into())] {
        assert_eq!(one.kick(wrong).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    let nobody = one.admin().kick(KickRequest { who: None }).await.unwrap_err();
    assert_eq!(nobody.code(), tonic::Code::InvalidArgument);
    carol.send(from_client::Kind::Ping(Ping {})).await;
    assert!(matches!(carol.next().await, Kind::Pong(_)));
}

#[tokio::test]
#[ignore = "needs Redis: scripts/services run redis -- cargo test -p tidegate-gateway redis -- --ignored"]
async fn a_kick_reaches_the_other_gateway_over_redis() {
    use kick_request::Who;
    let url =
        std::env::var("TIDEGATE_TEST_REDIS").expect("TIDEGATE_TEST_REDIS says where a Redis for tests is");
    let settings =
        redis::Settings { url, prefix: format!("tg-test-{:016x}:", rand::random::<u64>()), ca_file: None };
    let presence = Presence::Redis(redis::Presence::connect(settings).unwrap());
    let (one, two) = Asked::two_of(presence).await;
    let (mut phone, welcome) = two.world.connect("bob", "phone").await;
    let (mut tablet, _) = two.world.connect("bob", "tablet").await;
    let (mut carol, _) = two.world.connect("carol", "phone").await;
    let hub = two.world.gateway.hub();
    // Until the other one listens, the word is lost.
    let kicked = async |who: Who, left: usize| {
        one.kick(who).await.unwrap();
        (hub.live() == left).then_some(())
    };
    one.world.eventually(async || kicked(Who::SessionId(welcome.session_id.clone()), 2).await).await;
    assert_eq!(phone.closed().await, CloseCode::Kicked);
    one.world.eventually(async || kicked(Who::User("bob".into()), 1).await).await;
    assert_eq!(tablet.closed().await, CloseCode::Kicked);
    carol.send(from_client::Kind::Ping(Ping {})).await;
    assert!(matches!(carol.next().await, Kind::Pong(_)));
}

#[tokio::test]
async fn draining_is_the_processes_to_do() {
    let (one, two) = Asked::two().await;
    let (_bob, _) = one.world.connect("bob", "phone").await;
    assert_eq!(one.admin().drain(DrainRequest {}).await.unwrap().into_inner().sessions, 1);
    assert!(one.drain.is_cancelled() && !two.drain.is_cancelled());
}
