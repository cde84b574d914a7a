"""What QUIC forbids and no library would send: frames written by hand into aioquic's packets (RFC 9000, section 19)."""

import asyncio

import pytest
from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.events import ConnectionTerminated, QuicEvent
from tidegate.v1.client_pb2 import STORED

from conftest import TRANSPORTS
from quic import Quic
from transport import LIMIT_S

FLOW_CONTROL_ERROR, STREAM_LIMIT_ERROR, STREAM_STATE_ERROR, FINAL_SIZE_ERROR = 0x3, 0x4, 0x5, 0x6
FRAME_ENCODING_ERROR, CONNECTION_ID_LIMIT_ERROR, PROTOCOL_VIOLATION, CRYPTO_BUFFER_EXCEEDED = 0x7, 0x9, 0xA, 0xD
# Types of frames.
ACK, RESET_STREAM, STOP_SENDING, CRYPTO, NEW_TOKEN, MAX_STREAMS = 0x02, 0x04, 0x05, 0x06, 0x07, 0x12
NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, HANDSHAKE_DONE = 0x18, 0x19, 0x1E
# STREAM with an offset and a length; and the same with its end.
STREAM, STREAM_FIN = 0x0E, 0x0F


def frame(kind: int, *fields: int | bytes) -> bytes:
    return encode_uint_var(kind) + b"".join(
        field if isinstance(field, bytes) else encode_uint_var(field) for field in fields
    )


def connection_id(number: int, retire: int) -> bytes:
    return frame(NEW_CONNECTION_ID, number, retire, bytes([8]) + number.to_bytes(8), bytes([number]) * 16)


# The control stream is number 0; the server allows four of each kind, and 128 KiB on a stream.
CASES = {
    "a stream beyond the limit": ({STREAM_LIMIT_ERROR}, frame(STREAM, 4 * 1_000, 0, 1, b"x")),
    "a unidirectional one beyond the limit": ({STREAM_LIMIT_ERROR}, frame(STREAM, 4 * 1_000 + 2, 0, 1, b"x")),
    "the reset of one beyond the limit": ({STREAM_LIMIT_ERROR}, frame(RESET_STREAM, 4 * 1_000, 0, 0)),
    "data beyond flow control": ({FLOW_CONTROL_ERROR}, frame(STREAM, 0, 1 << 30, 1, b"x")),
    "data beyond the connection's": (
        {FLOW_CONTROL_ERROR}, b"".join(frame(STREAM, number, 127 * 1024, 1, b"x") for number in (4, 8, 12))
    ),
    "a reset beyond flow control": ({FLOW_CONTROL_ERROR}, frame(RESET_STREAM, 4, 0, 1 << 30)),
    "data behind the end": (
        {FINAL_SIZE_ERROR}, frame(STREAM_FIN, 0, 10_000, 1, b"x") + frame(STREAM, 0, 10_001, 1, b"x")
    ),
    "another end": ({FINAL_SIZE_ERROR}, frame(STREAM_FIN, 0, 10_000, 1, b"x") + frame(STREAM_FIN, 0, 9_000, 1, b"x")),
    "an offset beyond 2^62": ({FRAME_ENCODING_ERROR, FLOW_CONTROL_ERROR}, frame(STREAM, 0, (1 << 62) - 1, 1, b"x")),
    "data on a stream of the server": ({STREAM_STATE_ERROR}, frame(STREAM, 3, 0, 1, b"x")),
    "data on a stream the server has not opened": ({STREAM_STATE_ERROR}, frame(STREAM, 1, 0, 1, b"x")),
    "no more of what only the client sends": ({STREAM_STATE_ERROR}, frame(STOP_SENDING, 2, 0)),
    "an acknowledgement of what was never sent": ({PROTOCOL_VIOLATION}, frame(ACK, 1 << 30, 0, 0, 0)),
    "an acknowledgement of less than nothing": ({FRAME_ENCODING_ERROR}, frame(ACK, 1, 0, 0, 2)),
    "too many streams allowed": ({FRAME_ENCODING_ERROR}, frame(MAX_STREAMS, (1 << 60) + 1)),
    "a frame that is none": ({FRAME_ENCODING_ERROR}, frame(0x3F)),
    "a frame that ends early": ({FRAME_ENCODING_ERROR}, frame(STREAM, 0, 0, 100, b"x")),
    "a token for the server": ({PROTOCOL_VIOLATION}, frame(NEW_TOKEN, 1, b"x")),
    "the end of the handshake, said by the client": ({PROTOCOL_VIOLATION}, frame(HANDSHAKE_DONE)),
    "handshake data without an end": ({CRYPTO_BUFFER_EXCEEDED}, frame(CRYPTO, 1 << 20, 1, b"x")),
    "a connection id given back that was never given": ({PROTOCOL_VIOLATION}, frame(RETIRE_CONNECTION_ID, 1 << 20)),
    "connection ids without an end": (
        {CONNECTION_ID_LIMIT_ERROR}, b"".join(connection_id(number, 0) for number in range(20, 36))
    ),
    "a connection id that gives up itself": (
        {FRAME_ENCODING_ERROR, PROTOCOL_VIOLATION}, connection_id(20, 21)
    ),
}


class Violator(Quic):
    """Raw QUIC that remembers the error with which QUIC itself ended."""

    def __init__(self, protocol):
        super().__init__(protocol)
        self.error: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_end(self, event: QuicEvent) -> None:
        if isinstance(event, ConnectionTerminated):
            assert event.frame_type is not None, f"closed by the application: {event}"
            self.error.set_result(event.error_code)
        super().on_end(event)

    def inject(self, frames: bytes) -> None:
        """Puts frames into the next packet, in place of a PING."""
        kind = Buffer(data=frames)
        first = kind.pull_uint_var()
        rest = frames[kind.tell() :]

        def write(builder, *_args, **_options):
            builder.start_frame(first, capacity=len(rest) + 8).push_bytes(rest)

        self.quic._write_ping_frame = write
        self.quic.send_ping(0)
        self.protocol.transmit()


@pytest.mark.parametrize("case", CASES)
async def test_the_error_is_that_of_the_rfc(world, case):
    expected, frames = CASES[case]
    honest = await world.device("honest").connect(TRANSPORTS["quic"])
    session = await world.device("eve").connect(Violator.open)
    session.transport.inject(frames)
    error = await asyncio.wait_for(session.transport.error, LIMIT_S)
    assert error in expected, hex(error)
    await honest.is_alive()


async def test_a_flood_of_frames_that_ask_for_an_answer(world):
    """PATH_CHALLENGE and PING cost an answer each, and nothing else."""
    honest, eve = world.device("honest"), world.device("eve")
    reader, session = await honest.connect(TRANSPORTS["ws"]), await eve.connect(Quic.open)
    violator = session.transport
    for number in range(200):
        challenges = b"".join(frame(0x1A, (number * 100 + at).to_bytes(8)) for at in range(100))
        Violator.inject(violator, challenges)
        await asyncio.sleep(0)
    await session.is_alive()
    await session.send(receiver_id=honest.user, local_id="m", content=b"x")
    await reader.delivered(b"x")
    await session.receipt("m", STORED)
