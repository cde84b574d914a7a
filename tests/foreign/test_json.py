"""The JSON mode by hand, text for text (PROTOCOL section 6.4). Over the shared scenarios it runs as `json`."""

import asyncio
import json
import ssl
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from transport import LIMIT_S


class Json:
    """Texts to and from `/ws`."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, text: str | dict) -> None:
        await self.socket.send(text if isinstance(text, str) else json.dumps(text))

    async def hear(self) -> dict:
        return json.loads(await asyncio.wait_for(self.socket.recv(), LIMIT_S))


async def live(server, user: str) -> Json:
    url = f"wss://127.0.0.1:{server.quic_port}/ws"
    tls = ssl.create_default_context(cafile=server.certificate)
    peer = Json(await connect(url, subprotocols=["tidegate.v1.json"], ssl=tls))
    attempt = time.time_ns() // 1_000_000
    start = {"floor": True}
    hello = {"token": server.token(user), "device_id": "laptop", "attempt": attempt, "start": start}
    await peer.say({"id": 1, "hello": hello})
    welcome = await peer.hear()
    assert welcome["id"] == 1 and welcome["welcome"]["user_id"] == user
    assert isinstance(welcome["welcome"]["server_time"], int)
    return peer


async def test_the_session_of_the_public_text(server, world):
    alice_id, bob_id = world.user("alice"), world.user("bob")
    alice = await live(server, alice_id)
    await alice.say({"id": 2, "send": {"msg": {"receiver_id": bob_id, "local_id": "m-1", "content": "hello"}}})
    accepted, stored = await alice.hear(), await alice.hear()
    assert (accepted["id"], accepted["receipt"]["status"], accepted["receipt"]["code"]) == (2, "ACCEPTED", "OK")
    assert (stored["id"], stored["receipt"]["status"]) == (0, "STORED")
    assert (stored["receipt"]["seq"], stored["receipt"]["conv_seq"]) == (1, 1)
    assert accepted["receipt"]["server_id"] == stored["receipt"]["server_id"]

    await alice.say({"ack": {"cursor": 1}})
    await alice.say({"id": 3, "send": {"msg": {"receiver_id": bob_id, "local_id": "m-1", "content": "other"}}})
    refused = await alice.hear()
    assert (refused["id"], refused["receipt"]["status"], refused["receipt"]["code"]) == (3, "REJECTED", "CONFLICT")

    await alice.say({"id": 4, "pull": {"before": 0, "limit": 10}})
    page = await alice.hear()
    assert page["id"] == 4 and (page["page"]["head"], page["page"]["floor"], page["page"]["more"]) == (1, 1, False)
    (entry,) = page["page"]["entries"]
    assert (entry["seq"], entry["msg"]["content"], entry["msg"]["conv_seq"]) == (1, "hello", 1)

    bob = await live(server, bob_id)
    assert (await bob.hear())["deliver"]["msg"]["content"] == "hello"
    await bob.say({"send": {"msg": {"receiver_id": alice_id, "local_id": "x-7", "content_base64": "/wA="}}})
    deliver = (await alice.hear())["deliver"]
    assert (deliver["timeline"], deliver["seq"], deliver["msg"]["content_base64"]) == ("", 2, "/wA=")
    assert "content" not in deliver["msg"] and deliver["msg"]["seq"] == 0

    await alice.say({"id": 5, "mark": {"conversation": "d:a:b", "read": 2}})
    error = (await alice.hear())["error"]
    assert (error["code"], error["id"], error["close"]) == ("UNIMPLEMENTED", 5, "CLOSE_CODE_UNSPECIFIED")
    await alice.say({"bye": {}})
    assert (await alice.hear())["go_away"]["reason"] == "CLOSE_CODE_NORMAL"
    try:
        await alice.hear()
        raise AssertionError("the connection is closed after GoAway")
    except ConnectionClosed:
        assert alice.socket.close_code == 4100
    await bob.socket.close()


async def test_what_a_number_and_what_a_member_may_be(server, world):
    peer = await live(server, world.user("alice"))
    for local_id, fields in [
        ("a", {"create_time": "1700000000000", "msg_type": "1000", "content_type": 1.0}),
        ("b", {"create_time": None, "content": "ü", "no_such_member": {"x": [1]}}),
        ("c", {"seq": 0, "server_id": "", "is_read": False}),
    ]:
        msg = {"receiver_id": world.user("alice"), "local_id": local_id, **fields}
        await peer.say({"id": "7", "send": {"msg": msg}})
        answer = await peer.hear()
        assert (answer["id"], answer["receipt"]["status"]) == (7, "ACCEPTED"), fields
        assert (await peer.hear())["receipt"]["status"] == "STORED"
    await peer.say({"pull": {"after": "0"}})
    first, second, _ = (entry["msg"] for entry in (await peer.hear())["page"]["entries"])
    assert (first["create_time"], first["msg_type"], first["content_type"]) == (1_700_000_000_000, 1000, 1)
    assert second["content"] == "ü"
    await peer.socket.close()


async def test_a_text_that_is_no_frame_is_forgiven(server, world):
    peer = await live(server, world.user("alice"))
    for text in ["", "nonsense", "[]", "3", '{"id":"x","ping":{}}', '{"id":-1,"ping":{}}']:
        await peer.say(text)
        error = await peer.hear()
        assert (error["id"], error["error"]["code"]) == (0, "INVALID_ARGUMENT"), text
    # With a member that does not fit, a frame counts as one of an unknown kind.
    for text in ['{"id":8,"ack":{"cursor":1.5}}', '{"id":8,"hello":3}', '{"id":8,"send":{"msg":{"content":1}}}']:
        await peer.say(text)
        error = await peer.hear()
        assert (error["id"], error["error"]["code"]) in ((8, "UNIMPLEMENTED"), (0, "INVALID_ARGUMENT")), text
    await peer.say({"id": 9, "ping": {}})
    assert (await peer.hear())["id"] == 9
    await peer.socket.close()


async def test_a_binary_message_ends_the_session(server, world):
    peer = await live(server, world.user("alice"))
    await peer.socket.send(b"\x02\x5a\x00")
    assert (await peer.hear())["error"]["close"] == "CLOSE_CODE_PROTOCOL_ERROR"
    await asyncio.wait_for(peer.socket.wait_closed(), LIMIT_S)
    assert peer.socket.close_code == 4104
