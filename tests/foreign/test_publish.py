"""Backends publish to channels: over gRPC, and by the HTTP API (docs/GRPC.md, docs/OPERATIONS.md "The API for backends")."""

import json
import urllib.error
import urllib.request

import grpc
import pytest
from tidegate.v1.client_pb2 import PERMISSION_DENIED, Pull, Subscribe
from tidegate.v1.message_pb2 import Msg
from tidegate.v1.services_pb2 import GetHeadsRequest, SendMsgRequest
from tidegate.v1.services_pb2_grpc import ChatServiceStub

from broadcast import ChatStub, UserId
from conftest import TRANSPORTS, World
from server import Server
from transport import LIMIT_S

KEY = "change-me-to-something-long"


@pytest.fixture
async def chat(server):
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        yield ChatServiceStub(channel)


def post(server: Server, name: str, key: str = KEY, body: bytes | None = None, **msg) -> tuple[int, dict]:
    """The status and the answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.http_port}/api/v1/channels/{name}",
        data=json.dumps(msg).encode() if body is None else body,
        headers={"Authorization": f"Bearer {key}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def test_a_backend_publishes_over_grpc(world, chat, transport):
    bob, alice, news = world.device("bob"), world.user("alice"), f"news/{world.mark}"
    session = await bob.connect(transport)
    await session.request(subscribe=Subscribe(channel=news))
    await session.kind("subscribed")
    request = SendMsgRequest(msg=Msg(send_id=alice, channel=news, local_id="m-1", content=b"goal"))
    answer = await chat.SendMsg(request, timeout=LIMIT_S)
    got = (await session.delivered(b"goal")).frame.deliver
    assert (got.timeline, got.seq, got.msg.conv_seq) == (f"c:{news}", 1, 1)
    assert (got.msg.send_id, got.msg.server_id) == (alice, answer.server_id)
    assert await chat.SendMsg(request, timeout=LIMIT_S) == answer, "the same again"
    named = Msg(channel=news, nickname="The desk", said_at="half time", content=b"one all")
    await chat.SendMsg(SendMsgRequest(msg=named), timeout=LIMIT_S)
    got = (await session.delivered(b"one all")).frame.deliver
    assert (got.seq, got.msg.send_id, got.msg.nickname, got.msg.said_at) == (2, "@system", "The desk", "half time")
    page = await chat.GetMessages(Pull(timeline=f"c:{news}", after=0), timeout=LIMIT_S)
    assert [(entry.seq, entry.msg.content) for entry in page.entries] == [(1, b"goal"), (2, b"one all")]
    heads = GetHeadsRequest(timelines=[f"c:{news}", f"i:{alice}", f"i:{bob.user}"])
    heads = await chat.GetHeads(heads, timeout=LIMIT_S)
    assert [(one.head, one.floor) for one in heads.timelines] == [(2, 1), (0, 1), (0, 1)]


async def test_a_backend_reaches_what_clients_may_not(world, chat):
    ops, alice = f"@ops.{world.mark}", world.device("alice")
    session = await alice.connect(TRANSPORTS["ws"])
    await session.send(channel=ops, local_id="m-1", content=b"no")
    assert (await session.rejected("m-1")).code == PERMISSION_DENIED
    for sender in ("", alice.user):
        await chat.SendMsg(SendMsgRequest(msg=Msg(send_id=sender, channel=ops, content=b"ok")), timeout=LIMIT_S)
    page = await chat.GetMessages(Pull(timeline=f"c:{ops}", after=0), timeout=LIMIT_S)
    assert [(entry.msg.send_id, entry.msg.content) for entry in page.entries] == [("@system", b"ok"), (alice.user, b"ok")]


async def test_a_backend_publishes_over_http(own_server):
    server = own_server(f"api.keys={KEY}")
    bob = World(server).device("bob")
    session = await bob.connect(TRANSPORTS["ws"])
    for channel in ("news/sport", "@all"):
        await session.request(subscribe=Subscribe(channel=channel))
        await session.kind("subscribed")
    paths = ["news/sport/messages", "news%2Fsport/messages", "news%2fs%70ort/messages"]
    for number, path in enumerate(paths, 1):
        status, answer = post(server, path, send_id="alice", local_id=f"m-{number}", content=f"goal {number}")
        assert (status, answer["local_id"]) == (200, f"m-{number}")
        got = (await session.delivered(f"goal {number}".encode())).frame.deliver
        assert (got.timeline, got.seq, got.msg.server_id) == ("c:news/sport", number, answer["server_id"])
    assert post(server, paths[1], send_id="alice", local_id="m-1", content="goal 1")[0] == 200, "the same again"
    status, answer = post(server, paths[0], send_id="alice", local_id="m-1", content="another")
    assert (status, answer["code"]) == (409, "CONFLICT")

    for name in ("@all", "%40all"):
        assert post(server, f"{name}/messages", nickname="The desk", content=name)[0] == 200
        got = (await session.delivered(name.encode())).frame.deliver
        assert (got.timeline, got.msg.send_id, got.msg.nickname) == ("c:@all", "@system", "The desk")
    with grpc.insecure_channel(server.grpc) as channel:
        said = ChatStub(channel).HaveAll(UserId(id=2), timeout=LIMIT_S)
        assert (said.speakername, said.content) == ("The desk", "%40all")

    long = "x" * 129
    for name, msg, status, code in [
        ("a%20b/messages", {}, 400, "INVALID_ARGUMENT"),
        (f"{long}/messages", {}, 400, "INVALID_ARGUMENT"),
        ("/messages", {}, 400, "INVALID_ARGUMENT"),
        ("news:sport/messages", {}, 400, "INVALID_ARGUMENT"),
        ("news%00/messages", {}, 400, "INVALID_ARGUMENT"),
        ("news%C3%A9/messages", {}, 400, "INVALID_ARGUMENT"),
        ("news%/messages", {}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"channel": "other"}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"receiver_id": "bob"}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"send_id": "a b"}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"local_id": "x" * 65}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"nickname": long}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"msg_type": 25}, 400, "INVALID_ARGUMENT"),
        ("news/messages", {"content": "x" * 65_537}, 413, "TOO_LARGE"),
        ("news", {}, 404, "NOT_FOUND"),
        ("news%2Fmessages", {}, 404, "NOT_FOUND"),
    ]:
        refused = post(server, name, **msg)
        assert (refused[0], refused[1]["code"]) == (status, code), (name, refused)
    assert post(server, "news/messages", body=b"no JSON")[0] == 400
    assert post(server, "news/messages", key="another-key-altogether")[0] == 401
    # Nobody needs to be known, and a message may be empty.
    assert post(server, "brand-new/messages", send_id="never-seen")[0] == 200
    for sender in ("", "alice"):
        assert post(server, "@ops/messages", send_id=sender)[0] == 200
    await session.is_alive()
