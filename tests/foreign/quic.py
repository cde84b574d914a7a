"""Raw QUIC and WebTransport by `aioquic` (PROTOCOL sections 6.1 and 6.2)."""

import asyncio
import ssl
from typing import ClassVar, Self

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.buffer import Buffer
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DatagramReceived, DataReceived, HeadersReceived, WebTransportStreamDataReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import (
    ConnectionTerminated,
    DatagramFrameReceived,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from tidegate.v1.client_pb2 import ClientFrame, ServerFrame, StreamHeader

from server import Server
from transport import LIMIT_S, Transport
from wire import Unframer, framed


class Quic(Transport):
    """Raw QUIC: the control stream is the first bidirectional stream."""

    alpn: ClassVar[list[str]] = ["tidegate/1"]
    # The number of the control stream, once it is open.
    control: int | None = None

    def __init__(self, protocol: "Protocol"):
        super().__init__()
        self.protocol = protocol
        self.quic = protocol._quic
        self.streams: dict[int, Stream] = {}
        # Stream ids that the server has reset, with its code.
        self.resets: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
        protocol.on_event = self.on_event

    @classmethod
    async def open(cls, server: Server) -> Self:
        transport = await cls.handshake(server)
        await transport.open_control()
        return transport

    @classmethod
    async def handshake(cls, server: Server, alpn: list[str] | None = None) -> Self:
        configuration = QuicConfiguration(
            is_client=True,
            alpn_protocols=alpn or cls.alpn,
            server_name="127.0.0.1",
            cafile=str(server.certificate),
            verify_mode=ssl.CERT_REQUIRED,
            max_datagram_frame_size=65_536,
            idle_timeout=60,
        )
        quic = QuicConnection(configuration=configuration)
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: Protocol(quic), local_addr=("127.0.0.1", 0))
        transport = cls(protocol)
        protocol.connect(("127.0.0.1", server.quic_port))
        await asyncio.wait_for(protocol.wait_connected(), LIMIT_S)
        return transport

    async def open_control(self) -> None:
        self.control = self.quic.get_next_available_stream_id()
        self.streams[self.control] = Stream("control")

    async def send(self, frame: ClientFrame) -> None:
        self.write(framed(frame))

    def write(self, data: bytes) -> None:
        self.quic.send_stream_data(self.control, data)
        self.protocol.transmit()

    async def send_datagram(self, frame: ClientFrame) -> None:
        self.quic.send_datagram_frame(frame.SerializeToString())
        self.protocol.transmit()

    async def finish(self) -> None:
        self.quic.send_stream_data(self.control, b"", end_stream=True)
        self.protocol.transmit()

    async def cut(self) -> None:
        self.protocol.is_cut = True
        self.ended(None)

    async def rebind(self) -> int:
        """Goes on from another port, which it returns, as after a change of the network."""
        old, loop = self.protocol._transport, asyncio.get_running_loop()
        new, _ = await loop.create_datagram_endpoint(lambda: self.protocol, local_addr=("127.0.0.1", 0))
        old.close()
        return new.get_extra_info("sockname")[1]

    def stop(self, way: str) -> None:
        """Tells the server to send no more on a stream."""
        number = next(number for number, stream in self.streams.items() if stream.way == way)
        self.quic.stop_stream(number, 0)
        self.protocol.transmit()

    def on_event(self, event: QuicEvent) -> None:
        match event:
            case StreamDataReceived():
                self.on_data(event.stream_id, event.data, event.end_stream)
            case DatagramFrameReceived():
                self.arrived("datagram", ServerFrame.FromString(event.data))
            case _:
                self.on_end(event)

    def on_end(self, event: QuicEvent) -> None:
        match event:
            case StreamReset() | StopSendingReceived():
                self.resets.put_nowait((event.stream_id, event.error_code))
            case ConnectionTerminated():
                # A frame type is named when QUIC itself closes, not an application.
                self.ended(event.error_code if event.frame_type is None else None)

    def on_data(self, number: int, data: bytes, end: bool) -> None:
        stream = self.streams.setdefault(number, Stream())
        for way, frame in stream.feed(data, end):
            self.arrived(way, frame)


class WebTransport(Quic):
    """The same within a session of HTTP/3."""

    alpn: ClassVar[list[str]] = H3_ALPN
    path = "/wt"

    def __init__(self, protocol: "Protocol"):
        super().__init__(protocol)
        self.h3 = H3Connection(self.quic, enable_webtransport=True)
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.capsules = b""

    async def open_control(self) -> None:
        assert await self.ask() == 200
        self.control = self.h3.create_webtransport_stream(self.session)
        self.streams[self.control] = Stream("control")

    async def ask(self, **fields: str) -> int:
        """Asks for a session; the status of the answer. `fields` replace the usual ones or add to them."""
        self.session = self.quic.get_next_available_stream_id()
        host, port = self.protocol.remote
        request = {
            ":method": "CONNECT",
            ":protocol": "webtransport",
            ":scheme": "https",
            ":authority": f"{host}:{port}",
            ":path": self.path,
            **{name.replace("_", ":"): value for name, value in fields.items()},
        }
        self.h3.send_headers(self.session, [(name.encode(), value.encode()) for name, value in request.items()])
        self.protocol.transmit()
        return await asyncio.wait_for(self.status, LIMIT_S)

    async def send_datagram(self, frame: ClientFrame) -> None:
        self.h3.send_datagram(self.session, frame.SerializeToString())
        self.protocol.transmit()

    def on_event(self, event: QuicEvent) -> None:
        if isinstance(event, StreamDataReceived) and event.stream_id == self.control:
            # aioquic knows the session's bidirectional streams that a peer opens, but takes the answers on those it
            # opened itself for HTTP/3. They have no header, so there is nothing for it to do.
            return self.on_data(event.stream_id, event.data, event.end_stream)
        for said in self.h3.handle_event(event):
            match said:
                case HeadersReceived(stream_id=self.session):
                    self.status.set_result(int(dict(said.headers)[b":status"]))
                case WebTransportStreamDataReceived(session_id=self.session):
                    self.on_data(said.stream_id, said.data, said.stream_ended)
                case DatagramReceived(stream_id=self.session):
                    self.arrived("datagram", ServerFrame.FromString(said.data))
                case DataReceived(stream_id=self.session):
                    self.on_capsules(said.data)
        self.on_end(event)

    def on_capsules(self, data: bytes) -> None:
        """Looks for CLOSE_WEBTRANSPORT_SESSION, which is all that comes here; then ends the session's stream."""
        self.capsules += data
        buffer = Buffer(data=self.capsules)
        if len(self.capsules) < 8:
            return
        assert buffer.pull_uint_var() == 0x2843
        assert buffer.pull_uint_var() >= 4
        self.ended(buffer.pull_uint32())
        self.quic.send_stream_data(self.session, b"", end_stream=True)
        self.protocol.transmit()


class Stream:
    """What comes on one stream: a header on those that the server opens, then frames."""

    def __init__(self, way: str | None = None):
        self.way = way
        self.unframer = Unframer()

    def feed(self, data: bytes, end: bool) -> list[tuple[str, ServerFrame]]:
        frames = []
        for body in self.unframer.feed(data):
            if self.way is None:
                self.way = self.named(StreamHeader.FromString(body))
            else:
                frames.append((self.way, ServerFrame.FromString(body)))
        assert not (end and self.unframer.waiting), "a stream ends inside a frame"
        return frames

    @staticmethod
    def named(header: StreamHeader) -> str:
        match header.WhichOneof("kind"):
            case "lane":
                return f"lane {header.lane}"
            case "answer_to":
                return f"page {header.answer_to}"
        raise AssertionError("a stream without a header")


class Protocol(QuicConnectionProtocol):
    """aioquic's connection, with a cable that can be cut."""

    is_cut = False

    def connect(self, remote) -> None:
        self.remote = remote
        super().connect(remote)

    def quic_event_received(self, event: QuicEvent) -> None:
        self.on_event(event)

    def datagram_received(self, data, addr) -> None:
        if not self.is_cut:
            super().datagram_received(data, addr)

    def transmit(self) -> None:
        if not self.is_cut:
            super().transmit()
