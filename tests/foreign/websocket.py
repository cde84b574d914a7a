"""WebSocket by `websockets`: binary frames and the JSON subprotocol (PROTOCOL sections 6.3 and 6.4)."""

import asyncio
import ssl
from typing import Self

from tidegate.v1.client_pb2 import ClientFrame, ServerFrame
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server import Server
from transport import Transport
from wire import Unframer, framed, from_json, to_json


class WebSocket(Transport):
    """`/ws` with either subprotocol, over TLS or not."""

    def __init__(self, socket: ClientConnection):
        super().__init__()
        self.socket = socket
        self.json = socket.subprotocol == "tidegate.v1.json"
        self.reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, server: Server, *, secure: bool, subprotocol: str = "tidegate.v1", query: str = "") -> Self:
        if secure:
            url, tls = f"wss://127.0.0.1:{server.quic_port}/ws", ssl.create_default_context(cafile=server.certificate)
        else:
            url, tls = f"ws://127.0.0.1:{server.http_port}/ws", None
        socket = await connect(url + query, subprotocols=[subprotocol], ssl=tls, compression=None)
        assert socket.subprotocol == subprotocol
        return cls(socket)

    async def send(self, frame: ClientFrame) -> None:
        await self.socket.send(to_json(frame) if self.json else framed(frame))

    async def finish(self) -> None:
        # The library answers the server's close frame by itself, with its code.
        pass

    async def cut(self) -> None:
        self.reader.cancel()
        self.socket.transport.abort()
        self.ended(None)

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                for frame in self._frames(message):
                    self.arrived("control", frame)
        except ConnectionClosed:
            pass
        # 1006 stands for no close frame at all.
        self.ended(None if self.socket.close_code == 1006 else self.socket.close_code)

    def _frames(self, message: str | bytes) -> list[ServerFrame]:
        if self.json:
            assert isinstance(message, str)
            return [from_json(message)]
        assert isinstance(message, bytes)
        unframer = Unframer()
        frames = [ServerFrame.FromString(body) for body in unframer.feed(message)]
        assert not unframer.waiting, "a message holds whole frames"
        return frames
