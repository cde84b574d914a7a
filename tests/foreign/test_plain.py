"""The plain `Msg` mode (PROTOCOL section 16)."""

import asyncio
import json

import pytest
from tidegate.v1.message_pb2 import Msg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from transport import LIMIT_S

RECEIPT, ERROR = 24, 9
BY_HAND = (
    '{"send_id":"123","receiver_id":"124","local_id":"","server_id":"","create_time":0,"send_time":0,"seq":0,'
    '"msg_type":0,"content_type":0,"content":"hello world","is_read":false}'
)


async def plain(server, path: str) -> ClientConnection:
    return await connect(f"ws://127.0.0.1:{server.http_port}{path}")


async def hear(socket: ClientConnection) -> dict:
    text = await asyncio.wait_for(socket.recv(), LIMIT_S)
    assert isinstance(text, str)
    return json.loads(text)


async def test_the_oldest_hand_test(server):
    """The only test with these two users."""
    one, two = await plain(server, "/ws/123/conn/321"), await plain(server, "/ws/124/conn/321")
    await one.send(BY_HAND)
    msg = await hear(two)
    assert {name: msg[name] for name in ("send_id", "receiver_id", "content", "msg_type", "content_type")} == {
        "send_id": "123",
        "receiver_id": "124",
        "content": "hello world",
        "msg_type": 0,
        "content_type": 0,
    }
    assert msg["seq"] == 1 and msg["send_time"] > 0 and len(msg["server_id"]) == 32

    receipt = await hear(one)
    assert (receipt["msg_type"], receipt["content_type"]) == (RECEIPT, 0)
    for name in ("server_id", "send_time", "local_id"):
        assert receipt[name] == msg[name], name

    await two.send('{"receiver_id":"123","local_id":"b","content":"hello 123"}')
    back = await hear(one)
    assert (back["content"], back["seq"]) == ("hello 123", 2), "the own message does not come back"
    await one.close()
    await two.close()


async def test_each_send_gets_one_receipt(server, world):
    alice, bob = world.user("alice"), world.user("bob")
    socket = await plain(server, f"/ws/{alice}/conn/phone")
    text = json.dumps({"receiver_id": bob, "local_id": "m", "content": "x"})
    await socket.send(text)
    first = await hear(socket)
    await socket.send(text)
    assert await hear(socket) == first and first["local_id"] == "m"
    await socket.close()


async def test_another_message_by_the_same_name_is_refused(server, world):
    alice, bob = world.user("alice"), world.user("bob")
    one, two = await plain(server, f"/ws/{alice}/conn/phone"), await plain(server, f"/ws/{bob}/conn/phone")
    for content in ("x", "y"):
        await one.send(json.dumps({"receiver_id": bob, "local_id": "m", "content": content}))
    receipts = [await hear(one)]
    while receipts[-1]["content_type"] != ERROR:
        receipts.append(await hear(one))
    # A refusal may follow a receipt, which is then that of the first message.
    assert len(receipts) in (2, 3) and {(said["local_id"], said["msg_type"]) for said in receipts} == {("m", RECEIPT)}
    assert "local_id" in receipts[-1]["content"]
    await one.send(json.dumps({"receiver_id": bob, "local_id": "n", "content": "z"}))
    assert [(await hear(two))["content"] for _ in range(2)] == ["x", "z"]
    await one.close()
    await two.close()


async def test_what_is_no_message_is_refused_and_the_connection_lives(server, world):
    socket = await plain(server, f"/ws/{world.user('alice')}/conn/phone")
    for text in ["hello", "[1]", '{"receiver_id":"a b","local_id":"m"}', '{"local_id":"m"}']:
        await socket.send(text)
        refused = await hear(socket)
        assert (refused["msg_type"], refused["content_type"]) == (RECEIPT, ERROR) and refused["content"], text
    await socket.close()


async def test_binary_messages_are_answered_in_binary(server, world):
    alice, bob = world.user("alice"), world.user("bob")
    one, two = await plain(server, f"/ws/{alice}/conn/phone"), await plain(server, f"/ws/{bob}/conn/phone")
    await one.send(Msg(receiver_id=bob, local_id="m", content=b"\xff\x00").SerializeToString())
    receipt = Msg.FromString(await asyncio.wait_for(one.recv(decode=False), LIMIT_S))
    assert (receipt.msg_type, receipt.local_id) == (RECEIPT, "m")
    got = await hear(two)
    assert (got["content_base64"], got["server_id"]) == ("/wA=", receipt.server_id), "text at first"
    await one.close()
    await two.close()


async def test_with_every_other_transport(server, world, transport):
    bob = world.device("bob")
    alice = world.user("alice")
    socket, session = await plain(server, f"/ws/{alice}/conn/phone"), await bob.connect(transport)
    await socket.send(json.dumps({"receiver_id": bob.user, "local_id": "m", "content": "from plain"}))
    await session.delivered(b"from plain")
    await session.send(receiver_id=alice, local_id="m", content=b"to plain")
    assert (await hear(socket))["msg_type"] == RECEIPT
    msg = await hear(socket)
    assert (msg["content"], msg["seq"], msg["conv_seq"]) == ("to plain", 2, 2)
    await socket.close()


async def test_tokens(server, world):
    alice, bob = world.user("alice"), world.user("bob")
    token = server.token(alice)
    socket = await plain(server, f"/ws/{alice}/conn/{token}/phone")
    await socket.send(json.dumps({"receiver_id": bob, "local_id": "m"}))
    assert (await hear(socket))["msg_type"] == RECEIPT
    await socket.close()
    for path in (f"/ws/{bob}/conn/{token}/phone", f"/ws/{alice}/conn/x.y.z/phone"):
        with pytest.raises(InvalidStatus) as refused:
            await plain(server, path)
        assert refused.value.response.status_code == 401


async def test_the_echo_of_a_pong_moves_the_cursor(server, world):
    """At the next connection what was acknowledged does not come again."""
    alice, bob = world.user("alice"), world.user("bob")
    one, two = await plain(server, f"/ws/{alice}/conn/phone"), await plain(server, f"/ws/{bob}/conn/phone")
    for number in (1, 2):
        await one.send(json.dumps({"receiver_id": bob, "local_id": f"m-{number}", "content": str(number)}))
        assert (await hear(two))["seq"] == number
    await two.pong(b"1")
    await two.close()
    async with asyncio.timeout(LIMIT_S):
        # The cursor is written once a second.
        while True:
            two = await plain(server, f"/ws/{bob}/conn/phone")
            first = await hear(two)
            await two.close()
            if first["seq"] == 2:
                break
            assert first["seq"] == 1
    await one.close()
