"""Bytes: lengths before frames (PROTOCOL section 5), frames as JSON (section 6.4)."""

import base64
import json
from collections.abc import Iterator

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from tidegate.v1.client_pb2 import ClientFrame, ServerFrame


def framed(message: Message) -> bytes:
    """A message with its length before it."""
    body = message.SerializeToString()
    length, prefix = len(body), bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + body


class Unframer:
    """Cuts a byte stream into the bodies of its frames."""

    def __init__(self) -> None:
        self.waiting = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        self.waiting += data
        while (split := self._split()) is not None:
            body, self.waiting = split
            yield body

    def _split(self) -> tuple[bytes, bytes] | None:
        length = 0
        for index, byte in enumerate(self.waiting[:5]):
            length |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                body, end = index + 1, index + 1 + length
                return (self.waiting[body:end], self.waiting[end:]) if len(self.waiting) >= end else None
        assert len(self.waiting) < 5, "a length that is no varint"
        return None


def to_json(frame: ClientFrame) -> str:
    """A frame as a text of the JSON mode. 64-bit integers stay strings, which the server accepts."""
    return json.dumps(_bytes_as_text(MessageToDict(frame, preserving_proto_field_name=True)))


def from_json(text: str) -> ServerFrame:
    """A frame from a text of the JSON mode; a member that is no field of ours is an error here."""
    return ParseDict(_text_as_bytes(json.loads(text)), ServerFrame())


def _bytes_as_text(value):
    if not isinstance(value, dict):
        return value
    converted = {key: _bytes_as_text(member) for key, member in value.items()}
    if "content" in converted:
        encoded = converted.pop("content")
        try:
            converted["content"] = base64.b64decode(encoded).decode()
        except UnicodeDecodeError:
            converted["content_base64"] = encoded
    return converted


def _text_as_bytes(value):
    if isinstance(value, list):
        return [_text_as_bytes(member) for member in value]
    if not isinstance(value, dict):
        return value
    converted = {key: _text_as_bytes(member) for key, member in value.items()}
    if "content" in converted:
        converted["content"] = base64.b64encode(converted["content"].encode()).decode()
    if "content_base64" in converted:
        converted["content"] = converted.pop("content_base64")
    return converted
