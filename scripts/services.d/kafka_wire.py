"""As much of Kafka's protocol as it takes to ask a broker something without starting a JVM."""

import io
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """How a broker lets somebody in that speaks TLS and asks who calls."""

    wrap: Callable[[socket.socket], socket.socket]
    user: str
    password: str


def brokers(port: int, access: Access | None = None) -> list[tuple[str, int]]:
    """Host and port of every broker that serves, from a listing of all topics (Metadata, version 1)."""
    answer = _Reader(_request(port, 3, 1, struct.pack(">i", -1), access))
    return [_broker(answer) for _ in range(answer.number("i"))]


def create_topic(port: int, name: str) -> None:
    """A topic of one partition (CreateTopics, version 2)."""
    topic = _string(name) + struct.pack(">ihii", 1, 1, 0, 0)
    answer = _Reader(_request(port, 19, 2, struct.pack(">i", 1) + topic + struct.pack(">ib", 10_000, 0)))
    answer.number("i"), answer.number("i"), answer.string()
    _check("CreateTopics", answer.number("h"))


def produce(port: int, topic: str, value: bytes) -> int:
    """Writes one record to partition 0 with acks=all; its offset (Produce, version 3)."""
    batch = _batch(value)
    body = _string(None) + struct.pack(">hii", -1, 10_000, 1) + _string(topic) + struct.pack(">iii", 1, 0, len(batch)) + batch
    answer = _Reader(_request(port, 0, 3, body))
    answer.number("i"), answer.string(), answer.number("i"), answer.number("i")
    _check("Produce", answer.number("h"))
    return answer.number("q")


def fetch(port: int, topic: str) -> tuple[int, bytes]:
    """The high watermark of partition 0, and its batches from the start as they are stored (Fetch, version 4)."""
    body = struct.pack(">iiiibi", -1, 500, 1, 1 << 20, 0, 1) + _string(topic) + struct.pack(">iiqi", 1, 0, 0, 1 << 20)
    answer = _Reader(_request(port, 1, 4, body))
    answer.number("i"), answer.number("i"), answer.string(), answer.number("i"), answer.number("i")
    _check("Fetch", answer.number("h"))
    high = answer.number("q")
    answer.number("q")
    for _ in range(max(answer.number("i"), 0)):
        answer.number("q"), answer.number("q")
    return high, answer.bytes(max(answer.number("i"), 0))


def _request(port: int, key: int, version: int, body: bytes, access: Access | None = None) -> bytes:
    connection = socket.create_connection(("127.0.0.1", port), timeout=15)
    with access.wrap(connection) if access else connection as connection, connection.makefile("rwb") as stream:
        if access:
            _log_in(stream, access)
        return _exchange(stream, key, version, body)


def _log_in(stream, access: Access) -> None:
    """SaslHandshake and SaslAuthenticate."""
    _check("SaslHandshake", _Reader(_exchange(stream, 17, 1, _string("PLAIN"))).number("h"))
    words = f"\0{access.user}\0{access.password}".encode()
    _check("SaslAuthenticate", _Reader(_exchange(stream, 36, 0, struct.pack(">i", len(words)) + words)).number("h"))


def _exchange(stream, key: int, version: int, body: bytes) -> bytes:
    message = struct.pack(">hhi", key, version, 1) + _string("tidegate-services") + body
    stream.write(struct.pack(">i", len(message)) + message)
    stream.flush()
    length = struct.unpack(">i", _exactly(stream, 4))[0]
    return _exactly(stream, length)[4:]


def _exactly(stream, length: int) -> bytes:
    found = stream.read(length)
    if len(found) < length:
        raise ConnectionError("the broker closed the connection")
    return found


class _Reader:
    def __init__(self, answer: bytes):
        self._stream = io.BytesIO(answer)

    def bytes(self, length: int) -> bytes:
        return _exactly(self._stream, length)

    def number(self, kind: str) -> int:
        return struct.unpack(f">{kind}", self.bytes(struct.calcsize(kind)))[0]

    def string(self) -> str | None:
        length = self.number("h")
        return None if length < 0 else self.bytes(length).decode()


def _broker(answer: _Reader) -> tuple[str, int]:
    answer.number("i")
    address = answer.string(), answer.number("i")
    answer.string()
    return address


def _string(text: str | None) -> bytes:
    return struct.pack(">h", -1) if text is None else struct.pack(">h", len(text.encode())) + text.encode()


def _check(what: str, code: int) -> None:
    if code:
        raise OSError(f"{what}: the broker answered with error {code}")


def _batch(value: bytes) -> bytes:
    # A record: attributes, time, offset, no key, value, no headers.
    record = b"\0" + _varint(0) + _varint(0) + _varint(-1) + _varint(len(value)) + value + _varint(0)
    record = _varint(len(record)) + record
    # What is older than the topic's retention is deleted.
    now = int(time.time() * 1000)
    # From the attributes on: last offset, first and last time, no producer id, epoch and sequence, one record.
    summed = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + record
    counted = struct.pack(">ibI", -1, 2, _crc32c(summed)) + summed
    return struct.pack(">qi", 0, len(counted)) + counted


def _varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
