"""What backends and operators ask over gRPC (docs/GRPC.md), by gRPC's own Python."""

import re
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tidegate.v1.client_pb2 import CLOSE_CODE_DRAINING, CLOSE_CODE_KICKED, Pull
from tidegate.v1.link_pb2_grpc import MsgServiceStub
from tidegate.v1.message_pb2 import Msg
from tidegate.v1.services_pb2 import (
    DrainRequest,
    GetHeadsRequest,
    GetStatusRequest,
    Instance,
    KickRequest,
    ListInstancesRequest,
    ListSessionsRequest,
    SendMsgRequest,
    SendMsgToUserRequest,
)
from tidegate.v1.services_pb2_grpc import (
    AdminServiceStub,
    ChatServiceStub,
    DbServiceStub,
    PushServiceStub,
    RegistryServiceStub,
)

from certificates import Authority, write
from conftest import TRANSPORTS, World
from transport import LIMIT_S

PAGE = (Path(__file__).parents[2] / "docs/GRPC.md").read_text()
TOKEN = "change-me-to-something-long"
OURS = {"AdminService", "ChatService", "DbService", "MsgService", "PushService", "RegistryService"}
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def channel(server):
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        yield channel


def sent(sender: str, to: str, local_id: str, content: bytes, **fields) -> SendMsgRequest:
    return SendMsgRequest(msg=Msg(send_id=sender, receiver_id=to, local_id=local_id, content=content, **fields))


async def refused(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


def told(error: grpc.aio.AioRpcError, trailer: str) -> str | None:
    return dict(error.trailing_metadata() or ()).get(trailer)


def test_a_tool_that_knows_nothing_sends_by_reflection(server):
    """As grpcurl does: it lists, describes, and calls what was described."""
    with grpc.insecure_channel(server.grpc) as channel:
        described = ProtoReflectionDescriptorDatabase(channel)
        names = set(described.get_services())
        assert {f"tidegate.v1.{name}" for name in OURS} | {"grpc.health.v1.Health"} <= names
        pool = DescriptorPool(described)
        for name in sorted(names):
            for method in pool.FindServiceByName(name).methods:
                assert method.input_type.full_name and method.output_type.full_name
        method = pool.FindServiceByName("tidegate.v1.ChatService").FindMethodByName("SendMsg")
        request = GetMessageClass(method.input_type)()
        request.msg.receiver_id, request.msg.content = "whoever", b"by reflection"
        call = channel.unary_unary(
            "/tidegate.v1.ChatService/SendMsg",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert re.fullmatch("[0-9a-f]{32}", call(request, timeout=LIMIT_S).server_id)


def test_reflection_is_the_same_in_its_newer_version(server):
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(server.grpc) as channel:
        listed = []
        for version in ("v1", "v1alpha"):
            call = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            (answer,) = call(iter([request]), timeout=LIMIT_S)
            listed.append({service.name for service in answer.list_services_response.service})
        assert listed[0] == listed[1] and "tidegate.v1.AdminService" in listed[0]


async def test_a_backends_message_arrives_and_is_history(world, channel, transport):
    bob = world.device("bob")
    session, alice = await bob.connect(transport), world.user("alice")
    chat = ChatServiceStub(channel)
    request = sent(alice, bob.user, "m-1", b"hello", content_type=1)
    answer = await chat.SendMsg(request, timeout=LIMIT_S)
    got = (await session.delivered(b"hello")).frame.deliver
    assert (got.seq, got.msg.send_id, got.msg.content_type) == (1, alice, 1)
    assert (answer.server_id, answer.local_id, answer.send_time) == (got.msg.server_id, "m-1", got.msg.send_time)
    assert await chat.SendMsg(request, timeout=LIMIT_S) == answer, "the same again"
    await chat.SendMsg(SendMsgRequest(msg=Msg(receiver_id=bob.user, content=b"news")), timeout=LIMIT_S)
    assert (await session.delivered(b"news")).frame.deliver.msg.send_id == "@system"

    heads = await chat.GetHeads(GetHeadsRequest(timelines=[f"i:{bob.user}", f"i:{alice}"]), timeout=LIMIT_S)
    assert [(one.head, one.floor) for one in heads.timelines] == [(2, 1), (1, 1)]
    page = await chat.GetMessages(Pull(timeline=f"i:{bob.user}", before=0, limit=1), timeout=LIMIT_S)
    assert [(entry.seq, entry.msg.content) for entry in page.entries] == [(2, b"news")] and page.more
    page = await chat.GetMessages(Pull(timeline=f"i:{bob.user}", after=0), timeout=LIMIT_S)
    assert [entry.msg.content for entry in page.entries] == [b"hello", b"news"]


async def test_refusals_have_a_code_and_a_name(world, channel):
    chat, alice, bob = ChatServiceStub(channel), world.user("alice"), world.user("bob")
    await chat.SendMsg(sent(alice, bob, "m-1", b"hello"), timeout=LIMIT_S)
    cases = [
        (sent("a b", bob, "m", b""), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (sent(alice, "", "m", b""), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (sent(alice, bob, "m-1", b"other"), grpc.StatusCode.ALREADY_EXISTS, "CONFLICT"),
        (sent(alice, bob, "m", bytes(65_537)), grpc.StatusCode.OUT_OF_RANGE, "TOO_LARGE"),
        (sent(alice, bob, "m", bytes(100_000)), grpc.StatusCode.OUT_OF_RANGE, None),
        (sent(alice, "", "m", b"", group_id="g"), grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED"),
    ]
    for request, code, name in cases:
        error = await refused(chat.SendMsg(request, timeout=LIMIT_S))
        assert (error.code(), told(error, "tidegate-code")) == (code, name), error.details()
        # The page has it.
        assert f"| `{code.name}` |" in PAGE and (name is None or name in PAGE)
        assert name is None or error.details().startswith(f"{name}: ")
    for timeline in ("", "bob", f"i:{bob} "):
        error = await refused(chat.GetMessages(Pull(timeline=timeline, after=0), timeout=LIMIT_S))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_volatile_passes_by_the_inbox(world, channel, transport):
    bob = world.device("bob")
    session, alice = await bob.connect(transport), world.user("alice")
    pushed = await PushServiceStub(channel).PushSingleMsg(sent(alice, bob.user, "", b"now"), timeout=LIMIT_S)
    assert (pushed.sessions, pushed.unreachable) == (1, 0)
    got = (await session.delivered(b"now")).frame.deliver
    assert (got.timeline, got.seq, got.msg.send_id, got.msg.conv_seq) == ("", 0, alice, 0)
    gateway = MsgServiceStub(channel)
    assert (await gateway.SendMessage(sent(alice, bob.user, "", b"here"), timeout=LIMIT_S)).sessions == 1
    await session.delivered(b"here")
    named = SendMsgToUserRequest(user=bob.user, msg=Msg(send_id=alice, receiver_id=alice, content=b"named"))
    assert (await gateway.SendMsgToUser(named, timeout=LIMIT_S)).sessions == 1
    assert (await session.delivered(b"named")).frame.deliver.msg.receiver_id == alice
    nobody = await PushServiceStub(channel).PushSingleMsg(sent(alice, alice, "", b"now"), timeout=LIMIT_S)
    assert nobody.sessions == 0
    heads = GetHeadsRequest(timelines=[f"i:{bob.user}"])
    assert (await ChatServiceStub(channel).GetHeads(heads, timeout=LIMIT_S)).timelines[0].head == 0
    await session.is_alive()


async def test_what_is_saved_is_found_at_the_next_message(world, channel, transport):
    bob = world.device("bob")
    session, alice = await bob.connect(transport), world.user("alice")
    db = DbServiceStub(channel)
    saved = await db.SaveMessage(sent(alice, bob.user, "m-1", b"quiet"), timeout=LIMIT_S)
    assert (saved.conv_seq, saved.repeated) == (1, False)
    assert {place.timeline: place.seq for place in saved.inboxes} == {f"i:{alice}": 1, f"i:{bob.user}": 1}
    assert (await db.SaveMessage(sent(alice, bob.user, "m-1", b"quiet"), timeout=LIMIT_S)).repeated
    await ChatServiceStub(channel).SendMsg(sent(alice, bob.user, "m-2", b"loud"), timeout=LIMIT_S)
    await session.until_cursor(2)
    assert bob.contents() == [b"quiet", b"loud"]


async def test_operators_list_and_kick(world, channel, transport):
    admin = AdminServiceStub(channel)
    bob, tablet = world.device("bob"), world.device("bob", "tablet")
    one, other = await bob.connect(transport), await tablet.connect(transport)
    listed = await admin.ListSessions(ListSessionsRequest(user=bob.user), timeout=LIMIT_S)
    assert {session.device_id for session in listed.sessions} == {"device", "tablet"}
    ids = {session.device_id: session.session_id for session in listed.sessions}
    everybody, page = set(), ListSessionsRequest(limit=1)
    while True:
        answer = await admin.ListSessions(page, timeout=LIMIT_S)
        everybody |= {session.session_id for session in answer.sessions}
        if not answer.next_page_token:
            break
        page.page_token = answer.next_page_token
    assert set(ids.values()) <= everybody
    status = await admin.GetStatus(GetStatusRequest(), timeout=LIMIT_S)
    assert status.sessions == len(everybody) and status.gateway.state == Instance.STATE_UP
    registry = RegistryServiceStub(channel)
    assert list((await registry.ListInstances(ListInstancesRequest(), timeout=LIMIT_S)).instances) == [status.gateway]
    assert status.gateway.address == world.server.grpc
    assert list(status.gateway.roles) == [Instance.ROLE_GATEWAY, Instance.ROLE_PIPELINE]

    assert (await admin.Kick(KickRequest(session_id=ids["tablet"]), timeout=LIMIT_S)).sessions == 1
    await other.next(lambda frame: frame.WhichOneof("kind") in ("go_away", "error"), "the last frame")
    assert await other.end() == CLOSE_CODE_KICKED
    await one.is_alive()
    assert (await admin.Kick(KickRequest(user=bob.user), timeout=LIMIT_S)).sessions == 1
    await one.next(lambda frame: frame.WhichOneof("kind") in ("go_away", "error"), "the last frame")
    assert await one.end() == CLOSE_CODE_KICKED
    assert (await refused(admin.Kick(KickRequest(), timeout=LIMIT_S))).code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_drain_is_a_stop_and_health_says_so(own_server):
    server = own_server()
    device = World(server).device("alice")
    session = await device.connect(TRANSPORTS["ws"])
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        health = HealthStub(channel)
        for service in ["", *(f"tidegate.v1.{name}" for name in OURS)]:
            assert (await health.Check(HealthCheckRequest(service=service), timeout=LIMIT_S)).status == SERVING
        watched = aiter(health.Watch(HealthCheckRequest(), timeout=LIMIT_S))
        assert (await anext(watched)).status == SERVING
        drained = await AdminServiceStub(channel).Drain(DrainRequest(), timeout=LIMIT_S)
        assert drained.sessions == 1
        assert (await anext(watched)).status == NOT_SERVING
        go_away = (await session.kind("go_away")).frame.go_away
        assert go_away.reason == CLOSE_CODE_DRAINING
        await session.end()
        assert server.process.wait(LIMIT_S) == 0, server.log.read_text()


async def test_the_token_is_asked_for_and_the_pages_example_works(own_server, capsys):
    server = own_server(f"rpc.token={TOKEN}")
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        await HealthStub(channel).Check(HealthCheckRequest(), timeout=LIMIT_S)
        chat, heads = ChatServiceStub(channel), GetHeadsRequest()
        for shown in (None, "another-token-altogether", TOKEN[:-1]):
            metadata = [("authorization", f"Bearer {shown}")] if shown else []
            error = await refused(chat.GetHeads(heads, metadata=metadata, timeout=LIMIT_S))
            assert error.code() == grpc.StatusCode.UNAUTHENTICATED, shown
        await chat.GetHeads(heads, metadata=[("authorization", f"Bearer {TOKEN}")], timeout=LIMIT_S)
    (example,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "ChatServiceStub" in text)
    assert "127.0.0.1:50051" in example and TOKEN in example
    exec(example.replace("127.0.0.1:50051", server.grpc), {})
    assert re.fullmatch("[0-9a-f]{32}\n", capsys.readouterr().out)
    assert TOKEN not in server.log.read_text()


async def test_callers_show_certificates(own_server, tmp_path):
    authority, other = Authority("ours"), Authority("another")
    chain, key = authority.identity()
    files = write(tmp_path, cert_file=chain, key_file=key, client_ca_file=authority.pem, ca_file=authority.pem)
    server = own_server(*files)

    async def ask(root: bytes, identity: tuple[bytes, bytes] | None) -> None:
        chain, key = identity or (None, None)
        credentials = grpc.ssl_channel_credentials(root, key, chain)
        async with grpc.aio.secure_channel(server.grpc, credentials) as channel:
            await ChatServiceStub(channel).GetHeads(GetHeadsRequest(), timeout=LIMIT_S)

    await ask(authority.pem, authority.identity())
    for root, identity in [
        (authority.pem, None),
        (authority.pem, other.identity()),
        (other.pem, authority.identity()),
    ]:
        assert (await refused(ask(root, identity))).code() == grpc.StatusCode.UNAVAILABLE
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        plain = ChatServiceStub(channel).GetHeads(GetHeadsRequest(), timeout=LIMIT_S)
        assert (await refused(plain)).code() == grpc.StatusCode.UNAVAILABLE
