"""Servers, the transports, and devices of users that no other test has."""

import os
import uuid
from functools import partial

import pytest
import pytest_asyncio

from device import Device, Open
from quic import Quic, WebTransport
from server import Server
from websocket import WebSocket

TRANSPORTS: dict[str, Open] = {
    "ws": partial(WebSocket.open, secure=False),
    "wss": partial(WebSocket.open, secure=True),
    "json": partial(WebSocket.open, secure=True, subprotocol="tidegate.v1.json"),
    "quic": Quic.open,
    "webtransport": WebTransport.open,
}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests; that it ends well is one more."""
    server = Server(os.environ["TIDEGATE_BIN"], tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0, server.log.read_text()


@pytest.fixture
def own_server(tmp_path):
    """Starts servers that this test may end, all on one data folder. Each has other ports, so clients get the new one."""
    servers = []

    def start(*settings: str) -> Server:
        servers.append(Server(os.environ["TIDEGATE_BIN"], tmp_path, *settings))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()


class World:
    """Makes devices and cleans up after them."""

    def __init__(self, server: Server):
        self.server = server
        self.devices: list[Device] = []
        self.mark = uuid.uuid4().hex[:12]

    def user(self, name: str) -> str:
        """The id of a user of this test."""
        return f"{name}.{self.mark}"

    def device(self, name: str, device: str = "device") -> Device:
        self.devices.append(Device(self.server, self.user(name), device))
        return self.devices[-1]


@pytest_asyncio.fixture
async def world(server):
    world = World(server)
    yield world
    for session in (session for device in world.devices for session in device.sessions):
        await session.transport.cut()


@pytest.fixture(params=TRANSPORTS)
def transport(request) -> Open:
    """Every transport in turn."""
    return TRANSPORTS[request.param]


@pytest.fixture(params=["quic", "webtransport"])
def streams(request) -> Open:
    """The transports that have streams and datagrams."""
    return TRANSPORTS[request.param]


@pytest.fixture(params=TRANSPORTS)
def other_transport(request) -> Open:
    """Every transport in turn, for the other side."""
    return TRANSPORTS[request.param]
