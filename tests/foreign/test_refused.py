"""Connections that get no session, and the answer that says why (PROTOCOL section 6)."""

import json
import urllib.error
import urllib.request

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from quic import Quic, WebTransport

PROTOCOLS = ["tidegate.v1"]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"subprotocols": None}, 400),
        ({"subprotocols": ["tidegate.v2"]}, 400),
        ({"subprotocols": PROTOCOLS, "origin": "https://example.com"}, 403),
        ({"subprotocols": PROTOCOLS, "origin": "null"}, 403),
    ],
)
async def test_a_websocket(server, options, status):
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{server.http_port}/ws", **options)
    assert refused.value.response.status_code == status
    answer = json.loads(refused.value.response.body)
    assert answer["code"] and answer["message"]


async def test_an_own_page_may_connect(server):
    origin = f"http://localhost:{server.http_port}"
    async with connect(f"ws://127.0.0.1:{server.http_port}/ws", subprotocols=PROTOCOLS, origin=origin):
        pass


def test_http_where_a_websocket_belongs(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/ws", timeout=10)
    assert refused.value.code == 426
    refused.value.close()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"_path": "/elsewhere"}, 404),
        ({"_method": "GET"}, 405),
        ({"_protocol": "websocket"}, 400),
        ({"origin": "https://example.com"}, 403),
        ({"origin": "null"}, 403),
    ],
)
async def test_a_webtransport_session(server, fields, status):
    transport = await WebTransport.handshake(server)
    assert await transport.ask(**fields) == status
    await transport.cut()


async def test_an_unknown_alpn(server):
    """TLS alert 120, no_application_protocol, as QUIC says it: 0x178."""
    with pytest.raises(ConnectionError):
        await Quic.handshake(server, alpn=["tidegate/2"])
