"""Hello, Welcome, resume, and how sessions end (PROTOCOL sections 7, 13 and 14)."""

import asyncio
from functools import partial

import pytest
from tidegate.v1.client_pb2 import (
    CLOSE_CODE_NORMAL,
    CLOSE_CODE_PROTOCOL_ERROR,
    CLOSE_CODE_REPLACED,
    CLOSE_CODE_TOO_LARGE,
    CLOSE_CODE_UNAUTHENTICATED,
    INVALID_ARGUMENT,
    PROTOCOL_ERROR,
    TOO_LARGE,
    UNAUTHENTICATED,
    UNIMPLEMENTED,
    Ack,
    ClientFrame,
    Hello,
    Mark,
    Position,
    Presence,
    Refresh,
    Send,
    Signal,
    Start,
)
from tidegate.v1.message_pb2 import Msg

from conftest import TRANSPORTS
from quic import WebTransport
from transport import LIMIT_S
from websocket import WebSocket
from wire import framed


async def send_all(session, to: str, contents: list[bytes]) -> None:
    """Sends in a row and waits for all."""
    for number, content in enumerate(contents):
        await session.send(receiver_id=to, local_id=f"{content.decode()}-{number}", content=content)
    for number, content in enumerate(contents):
        await session.stored(f"{content.decode()}-{number}")


async def test_welcome(world, transport):
    alice = world.device("alice", "phone")
    session = await alice.open(transport)
    id = await session.hello()
    answer = (await session.kind("welcome")).frame
    welcome = answer.welcome
    assert (answer.id, welcome.user_id, welcome.device_id) == (id, alice.user, "phone")
    assert (welcome.start, welcome.head, welcome.floor) == (0, 0, 1), "an empty timeline"
    assert welcome.epoch and welcome.session_id and welcome.gateway
    limits = welcome.limits
    assert (limits.max_frame_bytes, limits.max_content_bytes) == (72 * 1024, 64 * 1024)
    assert (limits.max_in_flight, limits.max_signal_bytes, welcome.heartbeat_ms) == (64, 1000, 25_000)


async def test_a_session_resumes_from_its_cursor(world, transport):
    """Two conversations go on while a device is away; lanes where there are some."""
    alice, carol, bob = world.device("alice"), world.device("carol"), world.device("bob")
    one, two = await alice.connect(transport), await carol.connect(transport)
    reader = await bob.connect(transport, lanes=8)
    await send_all(one, bob.user, [b"here"] * 5)
    await reader.until_cursor(5)
    await reader.transport.cut()

    away = [f"away{number}".encode() for number in range(200)]
    await asyncio.gather(send_all(one, bob.user, away), send_all(two, bob.user, away))
    reader = await bob.connect(transport, lanes=8)
    await reader.until_cursor(405)
    await send_all(one, bob.user, [b"back"])
    await reader.until_cursor(406)

    assert sorted(seq for seq, _ in bob.received) == list(range(1, 407)), "each once, no hole"
    for sender, before, after in [(alice, [b"here"] * 5, [b"back"]), (carol, [], [])]:
        of_sender = [msg for _, msg in bob.received if msg.send_id == sender.user]
        assert [msg.content for msg in of_sender] == before + away + after
        assert [msg.conv_seq for msg in of_sender] == list(range(1, len(of_sender) + 1))
    assert not bob.applied


async def test_where_a_session_starts(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one = await alice.connect(transport)
    await send_all(one, bob.user, [b"x"] * 4)
    epoch = alice.epoch
    starts = [
        (None, 0),
        (Start(floor=True), 0),
        (Start(head=True), 4),
        (Start(position=Position(epoch=epoch, cursor=3)), 3),
        (Start(position=Position(epoch=epoch, cursor=0)), 0),
        (Start(position=Position(epoch=epoch, cursor=5)), 0),
        (Start(position=Position(epoch="another", cursor=3)), 0),
    ]
    for start, cursor in starts:
        session = await bob.open(transport)
        await session.hello(start=start)
        welcome = await session.welcome()
        assert (welcome.start, welcome.head, welcome.epoch) == (cursor, 4, epoch), start
        for seq in range(cursor + 1, 5):
            assert (await session.kind("deliver")).frame.deliver.seq == seq
        await session.is_alive()
        assert not session.waiting, "nothing else came"
        await session.leave()


async def test_a_device_without_a_cursor_has_the_one_it_acknowledged(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    one, reader = await alice.connect(transport), await bob.connect(transport)
    await send_all(one, bob.user, [b"x"] * 3)
    await reader.until_cursor(3)
    id = await reader.request(ack=Ack(cursor=4))
    error = (await reader.kind("error", id)).frame.error
    assert error.code == INVALID_ARGUMENT, "beyond what was sent"
    await reader.request(ack=Ack(cursor=2))
    await reader.leave()
    async with asyncio.timeout(LIMIT_S):
        # It is written once a second.
        while True:
            session = await bob.open(transport)
            await session.hello(start=None)
            start = (await session.welcome()).start
            await session.leave()
            if start == 2:
                break
            assert start == 0


async def test_a_newer_connection_replaces_and_an_older_one_is_refused(world, transport):
    alice = world.device("alice")
    first = await alice.connect(transport)
    second = await alice.connect(transport)
    gone = (await first.kind("go_away")).frame.go_away
    assert gone.reason == CLOSE_CODE_REPLACED
    assert await first.end() == CLOSE_CODE_REPLACED

    late = await alice.open(transport)
    await late.hello(attempt=alice.attempt - 1)
    assert (await late.kind("go_away")).frame.go_away.reason == CLOSE_CODE_REPLACED
    assert await late.end() == CLOSE_CODE_REPLACED
    await second.is_alive()


async def test_goodbye(world, transport):
    session = await world.device("alice").connect(transport)
    await session.request(bye={})
    assert (await session.kind("go_away")).frame.go_away.reason == CLOSE_CODE_NORMAL
    assert await session.end() == CLOSE_CODE_NORMAL


BAD_HELLOS = {
    "no token": ({"token": ""}, UNAUTHENTICATED, CLOSE_CODE_UNAUTHENTICATED),
    "bad token": ({"token": "x.y.z"}, UNAUTHENTICATED, CLOSE_CODE_UNAUTHENTICATED),
    "large token": ({"token": "x" * 5000}, TOO_LARGE, CLOSE_CODE_TOO_LARGE),
    "large frame": ({"token": "x" * 9000}, TOO_LARGE, CLOSE_CODE_TOO_LARGE),
    "no device": ({"device_id": ""}, INVALID_ARGUMENT, CLOSE_CODE_PROTOCOL_ERROR),
    "bad device": ({"device_id": "a/b"}, INVALID_ARGUMENT, CLOSE_CODE_PROTOCOL_ERROR),
    "no attempt": ({"attempt": 0}, INVALID_ARGUMENT, CLOSE_CODE_PROTOCOL_ERROR),
    "many lanes": ({"lanes": 9}, INVALID_ARGUMENT, CLOSE_CODE_PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", BAD_HELLOS)
async def test_a_bad_hello(world, transport, case):
    fields, code, close = BAD_HELLOS[case]
    session = await world.device("alice").open(transport)
    await session.hello(**fields)
    error = (await session.kind("error")).frame.error
    assert (error.code, error.close) == (code, close) and error.message
    assert await session.end() == close


async def test_another_frame_before_hello(world, transport):
    session = await world.device("alice").open(transport)
    await session.request(ping={})
    error = (await session.kind("error")).frame.error
    assert (error.code, error.close) == (PROTOCOL_ERROR, CLOSE_CODE_PROTOCOL_ERROR)
    assert await session.end() == CLOSE_CODE_PROTOCOL_ERROR


async def test_a_second_hello(world, transport):
    alice = world.device("alice")
    session = await alice.connect(transport)
    await session.request(hello=Hello(token=alice.token, device_id="device", attempt=alice.next_attempt()))
    assert (await session.kind("error")).frame.error.close == CLOSE_CODE_PROTOCOL_ERROR
    assert await session.end() == CLOSE_CODE_PROTOCOL_ERROR


async def test_refresh(world, transport):
    alice, bob = world.device("alice"), world.device("bob")
    session = await alice.connect(transport)
    for token in ("x", bob.token):
        id = await session.request(refresh=Refresh(token=token))
        assert (await session.kind("error", id)).frame.error.code == UNAUTHENTICATED
    await session.request(refresh=Refresh(token=world.server.token(alice.user)))
    await session.is_alive()
    assert not session.waiting, "a good one is not answered"


async def test_a_token_that_expires(world, transport):
    """Of two sessions with a token of two seconds the one that refreshed it lives on."""
    phone, laptop = world.device("alice", "phone"), world.device("alice", "laptop")
    phone.token = laptop.token = world.server.short_token(phone.user, "2s")
    refreshed, other = await phone.connect(transport), await laptop.connect(transport)
    await refreshed.request(refresh=Refresh(token=world.server.token(phone.user)))
    error = (await other.kind("error")).frame.error
    assert (error.code, error.close) == (UNAUTHENTICATED, CLOSE_CODE_UNAUTHENTICATED)
    assert await other.end() == CLOSE_CODE_UNAUTHENTICATED
    await refreshed.is_alive()


@pytest.mark.parametrize("name", ["websocket", "webtransport"])
async def test_a_token_on_the_url(world, name):
    alice = world.device("alice")
    query = f"?token={alice.token}"
    if name == "websocket":
        session = await alice.open(partial(WebSocket.open, secure=True, query=query))
    else:
        session = await alice.open(type("WithToken", (WebTransport,), {"path": "/wt" + query}).open)
    await session.hello(token="")
    assert (await session.welcome()).user_id == alice.user


async def test_what_is_not_built_yet(world, transport):
    session = await world.device("alice").connect(transport)
    kinds = [
        {"mark": Mark(conversation="d:a:b", read=1)},
        {"presence": Presence(users=["bob"])},
        {"signal": Signal(group="g", kind="typing")},
        {"signal": Signal(channel="c", kind="typing")},
        {},
    ]
    for kind in kinds:
        id = await session.request(**kind)
        error = (await session.kind("error", id)).frame.error
        assert (error.code, error.id, error.close) == (UNIMPLEMENTED, id, 0), kind
    await session.is_alive()


async def test_frames_that_come_together(world):
    """Hello, a message and a Ping in one WebSocket message."""
    alice, bob = world.device("alice"), world.device("bob")
    session = await alice.open(TRANSPORTS["wss"])
    hello = Hello(token=alice.token, device_id="device", attempt=alice.next_attempt())
    send = Send(msg=Msg(receiver_id=bob.user, local_id="m", content=b"x"))
    frames = [ClientFrame(id=1, hello=hello), ClientFrame(id=2, send=send), ClientFrame(id=3, ping={})]
    await session.transport.socket.send(b"".join(map(framed, frames)))
    alice.begin(await session.welcome())
    await session.kind("pong", 3)
    await session.stored("m")
