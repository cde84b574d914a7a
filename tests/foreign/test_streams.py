"""Lanes, datagrams and streams that nobody asked for, on QUIC and WebTransport (PROTOCOL sections 6.1, 6.2, 11)."""

import asyncio

import pytest
from tidegate.v1.client_pb2 import CLOSE_CODE_PROTOCOL_ERROR, STORED, TOO_LARGE, ClientFrame, Hello, Signal

from conftest import TRANSPORTS
from quic import Quic
from transport import LIMIT_S
from wire import framed


async def test_lanes(world, streams):
    """Each conversation on one lane, in order; all of them together without a hole."""
    reader = await (bob := world.device("bob")).connect(streams, lanes=4)
    senders = [await world.device(f"sender{number}").connect(streams) for number in range(8)]
    for number in range(10):
        for sender in senders:
            await sender.send(receiver_id=bob.user, local_id=f"m-{number}", content=str(number).encode())
    await reader.until_cursor(80)
    ways: dict[str, set[str]] = {}
    contents: dict[str, list[int]] = {}
    for arrival in reader.waiting:
        msg = arrival.frame.deliver.msg
        ways.setdefault(msg.send_id, set()).add(arrival.way)
        contents.setdefault(msg.send_id, []).append(int(msg.content))
    assert all(len(lanes) == 1 for lanes in ways.values()), "one lane a conversation"
    assert set().union(*ways.values()) <= {f"lane {number}" for number in range(4)}
    assert len(set().union(*ways.values())) > 1, "8 conversations do not all hash to one lane of 4"
    assert len(contents) == 8 and all(numbers == list(range(10)) for numbers in contents.values())


async def test_stored_comes_by_the_lane_of_its_conversation(world, streams):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(streams, lanes=8), await bob.connect(streams)
    await one.send(receiver_id=bob.user, local_id="m", content=b"there")
    stored, _ = await one.receipt("m", STORED)
    await other.send(receiver_id=alice.user, local_id="m", content=b"and back")
    back = await one.delivered(b"and back")
    assert stored.way == back.way and stored.way.startswith("lane ")


async def test_without_lanes_everything_is_on_the_control_stream(world, streams):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(streams), await bob.connect(streams)
    await one.send(receiver_id=bob.user, local_id="m", content=b"x")
    assert (await other.delivered(b"x")).way == "control"
    assert (await one.receipt("m", STORED))[0].way == "control"


async def test_a_stopped_lane_ends_the_session(world, streams):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(streams), await bob.connect(streams, lanes=1)
    await one.send(receiver_id=bob.user, local_id="m", content=b"x")
    assert (await other.delivered(b"x")).way == "lane 0"
    other.transport.stop("lane 0")
    assert (await other.kind("error")).frame.error.close == CLOSE_CODE_PROTOCOL_ERROR
    assert await other.end() == CLOSE_CODE_PROTOCOL_ERROR


async def test_a_stream_that_nobody_asked_for(world):
    session = await world.device("alice").connect(TRANSPORTS["quic"])
    quic = session.transport.quic
    extra = quic.get_next_available_stream_id()
    quic.send_stream_data(extra, b"\x02\x5a\x00")
    session.transport.protocol.transmit()
    assert await asyncio.wait_for(session.transport.resets.get(), LIMIT_S) == (extra, CLOSE_CODE_PROTOCOL_ERROR)
    await session.is_alive()


async def test_a_client_that_changes_its_port(world, streams):
    """The connection goes on; nothing is lost in either direction."""
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(streams, lanes=2), await bob.connect(TRANSPORTS["wss"])
    ports = set()
    for number in range(1, 6):
        ports.add(await one.transport.rebind())
        content = str(number).encode()
        await one.send(receiver_id=bob.user, local_id=f"m-{number}", content=content)
        await other.delivered(content)
        await one.stored(f"m-{number}")
        await other.send(receiver_id=alice.user, local_id=f"m-{number}", content=content)
        await one.delivered(content)
    assert len(ports) > 1 and alice.cursor == 10
    assert len(alice.sessions) == 1 and not one.transport.closed.done()


async def test_signals_by_datagram(world, streams):
    alice, bob = world.device("alice"), world.device("bob")
    one, other = await alice.connect(streams, datagrams=True), await bob.connect(streams, datagrams=True)
    arrival = await by_datagram(one, other, Signal(user=bob.user, kind="typing", content=b"\x00\xff"))
    signal = arrival.frame.signal
    assert arrival.way == "datagram"
    assert (getattr(signal, "from"), signal.kind, signal.content) == (alice.user, "typing", b"\x00\xff")


async def by_datagram(one, other, signal: Signal):
    """A datagram may be lost, so it is sent until one comes."""
    for _ in range(5):
        await one.transport.send_datagram(ClientFrame(signal=signal))
        try:
            async with asyncio.timeout(2):
                return await other.kind("signal")
        except TimeoutError:
            pass
    raise AssertionError("five datagrams were lost on the loopback interface")


async def test_signals_without_datagrams(world, transport, other_transport):
    """On the control stream, to every other session of the user."""
    alice = world.device("alice")
    phone, laptop = world.device("bob", "phone"), world.device("bob", "laptop")
    one = await alice.connect(transport)
    others = [await phone.connect(other_transport), await laptop.connect(other_transport)]
    id = await one.request(signal=Signal(user=phone.user, kind="typing", content=b"now"))
    for other in others:
        arrival = await other.kind("signal")
        assert (arrival.way, getattr(arrival.frame.signal, "from")) == ("control", alice.user)
    # To oneself: the other devices.
    await others[0].request(signal=Signal(user=phone.user, kind="read"))
    assert (await others[1].kind("signal")).frame.signal.kind == "read"
    await others[0].is_alive()
    assert not others[0].waiting

    id = await one.request(signal=Signal(user=phone.user, kind="x", content=b"x" * 1001))
    assert (await one.kind("error", id)).frame.error.code == TOO_LARGE


@pytest.mark.parametrize("cut", [1, 7])
async def test_frames_cut_at_any_byte(world, cut):
    """The server puts them together."""
    alice = world.device("alice")
    session = await alice.open(TRANSPORTS["quic"])
    transport: Quic = session.transport
    hello = Hello(token=alice.token, device_id="device", attempt=alice.next_attempt())
    wire = framed(ClientFrame(id=1, hello=hello)) + framed(ClientFrame(id=2, ping={}))
    for start in range(0, len(wire), cut):
        transport.write(wire[start : start + cut])
    await session.welcome()
    await session.kind("pong", 2)
