"""What docs/PROTOCOL.md says in numbers and bytes is what the .proto files say."""

import re
from pathlib import Path

from tidegate.v1 import client_pb2, message_pb2
from tidegate.v1.client_pb2 import ClientFrame, Deliver, Hello, Position, Send, ServerFrame, Start, StreamHeader
from tidegate.v1.message_pb2 import Msg

from wire import framed

TEXT = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text()


def example(name: str) -> bytes:
    """The bytes of a `hex` block; what stands behind two spaces or more is a remark."""
    (block,) = re.findall(rf"```hex {name}\n(.*?)```", TEXT, re.DOTALL)
    return bytes.fromhex(" ".join(re.split(r" {2,}", line.strip())[0] for line in block.splitlines()))


def rows(section: str) -> list[list[str]]:
    """The cells of the first table after a text."""
    table = re.search(r"(?:^\|.*\|$\n)+", TEXT[TEXT.index(section) :], re.MULTILINE)
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.group().splitlines()[2:]]


def numbers(enum, prefix: str = "") -> dict[str, int]:
    return {name.removeprefix(prefix): number for name, number in enum.items() if name != prefix + "UNSPECIFIED"}


def test_the_bytes():
    start = Start(position=Position(epoch="e1", cursor=5))
    hello = Hello(token="T", device_id="d1", attempt=1_700_000_000_000, start=start, lanes=2, datagrams=True)
    send = Send(msg=Msg(receiver_id="bob", local_id="m-1", content=b"hi"))
    deliver = Deliver(seq=6, msg=Msg(send_id="alice", receiver_id="bob"))
    assert example("hello") == framed(ClientFrame(id=1, hello=hello))
    assert example("send") == framed(ClientFrame(id=2, send=send))
    assert example("deliver") == framed(ServerFrame(deliver=deliver))
    assert example("ping") == framed(ClientFrame(ping={}))
    assert example("lane") == framed(StreamHeader(lane=0))
    assert example("answer") == framed(StreamHeader(answer_to=5))


def test_the_codes():
    codes = {row[1]: int(row[0]) for row in rows("**Codes**")}
    assert codes == numbers(client_pb2.Code)
    closes = {row[1]: int(row[0]) for row in rows("**Close codes**")}
    assert closes == numbers(client_pb2.CloseCode, "CLOSE_CODE_")


def test_the_fields_of_a_message():
    table = {row[1].strip("`"): (int(row[0]), row[2]) for row in rows("## 3 Messages")}
    kinds = {3: "int64", 5: "int32", 8: "bool", 9: "string", 12: "bytes"}
    fields = Msg.DESCRIPTOR.fields
    assert table == {field.name: (field.number, kinds[field.type]) for field in fields}
    remarks = {row[1].strip("`"): row[3] for row in rows("## 3 Messages")}
    for name, enum in (("msg_type", message_pb2.MsgType), ("content_type", message_pb2.ContentType)):
        said = {name: int(number) for name, number in re.findall(r"\b([A-Z]{4,}) (\d+)", remarks[name])}
        assert said == dict(enum.items())


def test_the_frames():
    table = rows("## 4 Frames")
    for column, frame in ((0, ClientFrame), (2, ServerFrame)):
        said = {}
        for row in table:
            if row[column]:
                name, members = re.fullmatch(r"(\w+) \{(.*)\}", row[column + 1]).groups()
                said[name] = int(row[column]), members
        kinds = {field.message_type.name: field for field in frame.DESCRIPTOR.oneofs_by_name["kind"].fields}
        assert {name: number for name, (number, _) in said.items()} == {
            name: field.number for name, field in kinds.items()
        }
        for name, (_, members) in said.items():
            named = set(re.findall(r"[a-z_]{2,}", members.replace("*or*", "")))
            assert named <= {field.name for field in kinds[name].message_type.fields}, name
