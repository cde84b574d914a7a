"""The server stops, is killed, comes back: what clients see, and that nothing is lost (PROTOCOL sections 7, 9, 14)."""

import asyncio

from tidegate.v1.client_pb2 import CLOSE_CODE_DRAINING, Start

from conftest import TRANSPORTS, World
from device import Device
from transport import LIMIT_S


async def test_a_server_that_stops_says_so(own_server):
    world = World(own_server())
    alices = {name: world.device("alice", name) for name in TRANSPORTS}
    sessions = {name: await device.connect(TRANSPORTS[name]) for name, device in alices.items()}
    world.server.process.terminate()
    for name, session in sessions.items():
        go_away = (await session.kind("go_away")).frame.go_away
        assert go_away.reason == CLOSE_CODE_DRAINING and go_away.retry_after_ms >= 0, name
        assert await session.end() == CLOSE_CODE_DRAINING, name
    assert world.server.process.wait(LIMIT_S) == 0


async def test_nothing_is_lost_when_the_server_is_killed(own_server):
    """One message has its receipt, one does not; one device of the receiver is away, one is there."""
    server = own_server()
    world = World(server)
    alice = world.device("alice")
    bobs = {name: world.device("bob", name) for name in TRANSPORTS}
    one = await alice.connect(TRANSPORTS["quic"])
    readers = {name: await device.connect(TRANSPORTS[name], lanes=2) for name, device in bobs.items()}
    await one.send(receiver_id=world.user("bob"), local_id="m-1", content=b"1")
    await one.accepted("m-1")
    await readers["wss"].until_cursor(1)
    await one.send(receiver_id=world.user("bob"), local_id="m-2", content=b"2")
    server.kill()
    for session in [one, *readers.values()]:
        await session.transport.cut()

    server = own_server()
    for device in (alice, *bobs.values()):
        device.server = server
    one = await alice.connect(TRANSPORTS["webtransport"])
    for number in (1, 2, 3):
        await one.send(receiver_id=world.user("bob"), local_id=f"m-{number}", content=str(number).encode())
    stored = [await one.stored(f"m-{number}") for number in (1, 2, 3)]
    assert [(receipt.seq, receipt.conv_seq) for receipt in stored] == [(1, 1), (2, 2), (3, 3)]
    for name, bob in bobs.items():
        reader = await bob.connect(TRANSPORTS[name], lanes=2)
        await reader.until_cursor(3)
        assert bob.contents() == [b"1", b"2", b"3"], name
        await reader.transport.cut()
    await one.transport.cut()


async def test_a_cursor_below_the_floor(own_server):
    """Retention has removed what the devices did not fetch; each goes on from the floor."""
    server = own_server()
    world = World(server)
    alice = world.device("alice")
    bobs = {name: world.device("bob", name) for name in TRANSPORTS}
    one = await alice.connect(TRANSPORTS["quic"])
    for name, bob in bobs.items():
        await (await bob.connect(TRANSPORTS[name])).leave()
    for number in range(30):
        await one.send(receiver_id=world.user("bob"), local_id=f"m-{number}", content=str(number + 1).encode())
    for number in range(30):
        await one.stored(f"m-{number}")
    await one.transport.cut()
    server.process.terminate()
    assert server.process.wait(LIMIT_S) == 0

    server = own_server("retention.max_entries=10")
    for device in (alice, *bobs.values()):
        device.server = server
    async with asyncio.timeout(LIMIT_S):
        # It is at work since the start.
        while await floor(alice) < 21:
            pass
    for name, bob in bobs.items():
        reader = await bob.connect(TRANSPORTS[name], lanes=2)
        assert bob.cursor == 0
        assert (await reader.kind("history_gone")).frame.history_gone.floor == 21, name
        await reader.until_cursor(30)
        assert bob.contents() == [str(number).encode() for number in range(21, 31)], name
        await reader.transport.cut()


async def floor(device: Device) -> int:
    session = await device.open(TRANSPORTS["wss"])
    await session.hello(start=Start(head=True))
    welcome = await session.welcome()
    await session.leave()
    return welcome.floor
