"""A device and its sessions, as PROTOCOL sections 7 to 9 say: all that a client needs above a transport."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

from tidegate.v1.client_pb2 import (
    ACCEPTED,
    REJECTED,
    STORED,
    ClientFrame,
    Hello,
    Position,
    Receipt,
    Send,
    ServerFrame,
    Start,
    Welcome,
)
from tidegate.v1.message_pb2 import Msg

from server import Server
from transport import LIMIT_S, Arrival, Transport

Open = Callable[[Server], Awaitable[Transport]]


class Device:
    """What a client keeps: attempt, epoch, cursor, the seqs applied above it, and the messages."""

    def __init__(self, server: Server, user: str, name: str = "device"):
        self.server, self.user, self.name = server, user, name
        self.token = server.token(user)
        self.attempt = 0
        self.epoch = ""
        self.cursor = 0
        self.applied: set[int] = set()
        # (seq, message) in the order in which they were applied; `None` for the own ones and those that are gone.
        self.received: list[tuple[int, Msg | None]] = []
        self.sessions: list[Session] = []

    async def open(self, open_transport: Open) -> "Session":
        """A connection without Hello."""
        session = Session(self, await open_transport(self.server))
        self.sessions.append(session)
        return session

    async def connect(self, open_transport: Open, **hello) -> "Session":
        """A live session; it resumes where this device is, unless `start` says otherwise."""
        session = await self.open(open_transport)
        await session.hello(**hello)
        self.begin(await session.welcome())
        return session

    def next_attempt(self) -> int:
        self.attempt = max(self.attempt + 1, time.time_ns() // 1_000_000)
        return self.attempt

    def start(self) -> Start | None:
        return Start(position=Position(epoch=self.epoch, cursor=self.cursor)) if self.epoch else None

    def begin(self, welcome: Welcome) -> None:
        if welcome.epoch != self.epoch or welcome.start < self.cursor:
            self.epoch, self.cursor, self.applied = welcome.epoch, welcome.start, set()
        else:
            self.raise_to(welcome.start)

    def take(self, seq: int, msg: Msg | None) -> None:
        """An entry of the inbox, perhaps one that is known."""
        if seq <= self.cursor or seq in self.applied:
            return
        self.received.append((seq, msg))
        self.applied.add(seq)
        self.advance()

    def raise_to(self, seq: int) -> None:
        if seq > self.cursor:
            self.cursor = seq
            self.applied = {above for above in self.applied if above > seq}
        self.advance()

    def advance(self) -> None:
        while self.cursor + 1 in self.applied:
            self.cursor += 1
            self.applied.remove(self.cursor)

    def contents(self) -> list[bytes]:
        """Of what others sent, in the order in which it was applied."""
        return [msg.content for _, msg in self.received if msg is not None]


class Session:
    """A connection of a device; what comes is kept until somebody asks for it."""

    def __init__(self, device: Device, transport: Transport):
        self.device, self.transport = device, transport
        self.waiting: list[Arrival] = []
        self.ids = itertools.count(1)

    async def request(self, **kind) -> int:
        """Sends a frame of that kind with an id of its own."""
        number = next(self.ids)
        await self.transport.send(ClientFrame(id=number, **kind))
        return number

    async def hello(self, **fields) -> int:
        if "start" not in fields:
            fields["start"] = self.device.start()
        fields.setdefault("token", self.device.token)
        fields.setdefault("device_id", self.device.name)
        fields.setdefault("attempt", self.device.next_attempt())
        return await self.request(hello=Hello(platform="python", agent="tests/foreign", **fields))

    async def send(self, **fields) -> int:
        return await self.request(send=Send(msg=Msg(**fields)))

    async def next(self, fits: Callable[[ServerFrame], bool], what: str) -> Arrival:
        """The first frame that fits, of those that came and those that come; each is given out once."""
        for index, arrival in enumerate(self.waiting):
            if fits(arrival.frame):
                return self.waiting.pop(index)
        async with asyncio.timeout(LIMIT_S):
            while (arrival := await self.transport.arrivals.get()) is not None:
                self._take(arrival.frame)
                if fits(arrival.frame):
                    return arrival
                self.waiting.append(arrival)
        raise AssertionError(f"the connection ended before {what} came")

    async def kind(self, kind: str, id: int | None = None) -> Arrival:
        """The first frame of a kind, the answer to request `id` if one is given."""
        return await self.next(lambda frame: frame.WhichOneof("kind") == kind and id in (None, frame.id), kind)

    async def welcome(self) -> Welcome:
        return (await self.kind("welcome")).frame.welcome

    async def receipt(self, local_id: str, status: int) -> tuple[Arrival, Receipt]:
        def fits(frame: ServerFrame) -> bool:
            return frame.HasField("receipt") and (frame.receipt.local_id, frame.receipt.status) == (local_id, status)

        arrival = await self.next(fits, f"a receipt for {local_id}")
        return arrival, arrival.frame.receipt

    async def accepted(self, local_id: str) -> Receipt:
        return (await self.receipt(local_id, ACCEPTED))[1]

    async def stored(self, local_id: str) -> Receipt:
        return (await self.receipt(local_id, STORED))[1]

    async def rejected(self, local_id: str) -> Receipt:
        return (await self.receipt(local_id, REJECTED))[1]

    async def delivered(self, content: bytes) -> Arrival:
        return await self.next(lambda frame: frame.deliver.msg.content == content, f"a message {content!r}")

    async def until_cursor(self, cursor: int) -> None:
        """Reads until the device has everything up to a seq."""
        async with asyncio.timeout(LIMIT_S):
            while self.device.cursor < cursor:
                arrival = await self.transport.arrivals.get()
                assert arrival is not None, f"the connection ended at cursor {self.device.cursor}"
                self._take(arrival.frame)
                self.waiting.append(arrival)

    async def is_alive(self) -> None:
        """The server still answers."""
        id = await self.request(ping={})
        await self.kind("pong", id)

    async def end(self) -> int | None:
        """What a client does on the server's last frame; the close code."""
        await self.transport.finish()
        return await asyncio.wait_for(self.transport.closed, LIMIT_S)

    async def leave(self) -> None:
        """Says goodbye."""
        await self.request(bye={})
        await self.kind("go_away")
        await self.end()

    def _take(self, frame: ServerFrame) -> None:
        match frame.WhichOneof("kind"):
            case "deliver" if not frame.deliver.timeline:
                msg = frame.deliver.msg if frame.deliver.HasField("msg") else None
                self.device.take(frame.deliver.seq, msg)
            case "receipt" if frame.receipt.status == STORED:
                self.device.take(frame.receipt.seq, None)
            case "history_gone" if not frame.history_gone.timeline:
                self.device.raise_to(frame.history_gone.floor - 1)
