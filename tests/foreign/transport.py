"""What a session needs of a connection, whichever transport it is on."""

import asyncio
from abc import ABC, abstractmethod
from typing import NamedTuple

from tidegate.v1.client_pb2 import ClientFrame, ServerFrame

# Ends a hang; no test's verdict depends on it.
LIMIT_S = 30


class Arrival(NamedTuple):
    """A frame and the way it came by: `control`, `lane N`, `page ID` or `datagram`."""

    way: str
    frame: ServerFrame


class Transport(ABC):
    """An open connection, before Hello."""

    def __init__(self) -> None:
        # `None` stands for the end.
        self.arrivals: asyncio.Queue[Arrival | None] = asyncio.Queue()
        # The code the server closed with; `None` when it said none.
        self.closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def arrived(self, way: str, frame: ServerFrame) -> None:
        self.arrivals.put_nowait(Arrival(way, frame))

    def ended(self, code: int | None) -> None:
        if not self.closed.done():
            self.closed.set_result(code)
            self.arrivals.put_nowait(None)

    @abstractmethod
    async def send(self, frame: ClientFrame) -> None:
        """Sends a frame on the control stream."""

    @abstractmethod
    async def finish(self) -> None:
        """Says that nothing more comes; the server may still say why it closes."""

    @abstractmethod
    async def cut(self) -> None:
        """Is gone without a word."""
