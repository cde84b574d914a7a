"""chat.Chat and chat.Notify (docs/GRPC.md "The broadcast service"), by programs that know their text only."""

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tidegate.v1.client_pb2 import Subscribe

from broadcast import PAGE, ChatStub, Message, NotiCode, NotifyStub, UserId, chat_pb2
from server import Server
from transport import LIMIT_S

Code = grpc.StatusCode
WHOEVER = UserId(id=7)
EACH = 120


class Program:
    """One that was written against the text: a channel, and nothing else."""

    def __init__(self, address: str, token: str | None = None):
        self.channel = grpc.insecure_channel(address)
        self.chat, self.notify = ChatStub(self.channel), NotifyStub(self.channel)
        self.options = {"timeout": LIMIT_S} | ({"metadata": [("authorization", f"Bearer {token}")]} if token else {})

    def say(self, content: str, name: str = "anna", when: str = "now") -> Message:
        return self.chat.SendAll(Message(speakername=name, content=content, time=when), **self.options)

    def head(self) -> int:
        return self.chat.GetMessNum(WHOEVER, **self.options).messnum

    def message(self, number: int) -> Message:
        return self.chat.HaveAll(UserId(id=number), **self.options)

    def codes(self) -> Iterator[int]:
        return (note.code for note in self.notify.Notify(WHOEVER, **self.options))

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_) -> None:
        self.channel.close()


@pytest.fixture
def program(server) -> Iterator[Program]:
    with Program(server.grpc) as program:
        yield program


def refused(call, *arguments) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call(*arguments)
    return refused.value


def told(error: grpc.RpcError, trailer: str) -> str | None:
    return dict(error.trailing_metadata() or ()).get(trailer)


def send_many(address: str, name: str, start: threading.Barrier) -> list[Message]:
    with Program(address) as program:
        start.wait(LIMIT_S)
        return [program.say(f"{name} says {number}", name, f"{number} past") for number in range(EACH)]


def listen(program: Program, until: int, started: threading.Event) -> list[int]:
    """What Notify says up to a number."""
    codes = []
    for code in program.codes():
        started.set()
        codes.append(code)
        if code >= until:
            return codes
    raise AssertionError(f"the stream ended after {codes}")


def test_two_senders_one_log_and_a_restart(own_server):
    server = own_server()
    total = 2 * EACH
    with Program(server.grpc) as program, ThreadPoolExecutor() as pool:
        assert program.head() == 0
        assert refused(program.message, 1).code() == Code.NOT_FOUND
        started, start = threading.Event(), threading.Barrier(2)
        listening = pool.submit(listen, program, total, started)
        assert started.wait(LIMIT_S)
        sending = [pool.submit(send_many, server.grpc, name, start) for name in ("anna", "Zoë Müller")]
        sent = [message for sender in sending for message in sender.result(LIMIT_S)]
        assert sorted(message.id for message in sent) == list(range(1, total + 1))
        for sender in (sent[:EACH], sent[EACH:]):
            assert [message.id for message in sender] == sorted(message.id for message in sender)
        codes = listening.result(LIMIT_S)
        assert codes[0] == 0 and codes[-1] == total and codes == sorted(set(codes))
        known = {message.id: message for message in sent}
        everything_is_there(program, known)

        stream = program.codes()
        assert next(stream) == total
        assert server.stop() == 0, server.log.read_text()
        assert refused(next, stream).code() == Code.UNAVAILABLE

    server = own_server()
    with Program(server.grpc) as program:
        everything_is_there(program, known)
        known[total + 1] = program.say("back again")
        server.kill()
    with Program(own_server().grpc) as program:
        everything_is_there(program, known)
        assert program.say("and again").id == total + 2


def everything_is_there(program: Program, known: dict[int, Message]) -> None:
    """Every number gives what its sender was answered, and there are no others."""
    assert program.head() == len(known)
    for number, message in known.items():
        assert program.message(number) == message
    error = refused(program.message, len(known) + 1)
    assert error.code() == Code.NOT_FOUND and f"the last one is {len(known)}" in error.details()


def test_notify_says_each_change(program, server):
    first, second = program.codes(), program.codes()
    assert next(first) == next(second) == program.head()
    for number in range(20):
        said = program.say(str(number))
        assert next(first) == next(second) == said.id
    with Program(server.grpc) as late:
        assert next(late.codes()) == program.head()


async def test_subscribers_and_programs_hear_each_other(program, world, transport):
    alice = world.device("alice")
    session = await alice.connect(transport)
    await session.request(subscribe=Subscribe(channel="@all"))
    subscribed = (await session.kind("subscribed")).frame.subscribed
    assert subscribed.head == program.head()
    said = program.say("hello, «all»", "Zoë Müller", "10 past 9")
    got = (await session.delivered("hello, «all»".encode())).frame.deliver
    assert (got.timeline, got.seq, got.msg.conv_seq) == ("c:@all", said.id, said.id)
    msg = got.msg
    assert (msg.send_id, msg.nickname, msg.said_at) == ("@chat", "Zoë Müller", "10 past 9")
    assert (msg.channel, msg.msg_type, msg.content_type) == ("@all", 2, 1)

    codes = program.codes()
    assert next(codes) == said.id
    fields = {"nickname": "Somebody else", "said_at": "never", "content_type": 1}
    await session.send(channel="@all", local_id="m-1", content="grüezi".encode(), **fields)
    stored = await session.stored("m-1")
    assert next(codes) == stored.conv_seq == said.id + 1
    answer = program.message(stored.conv_seq)
    # A client does not choose another name than its token's.
    assert (answer.id, answer.speakername, answer.content) == (stored.conv_seq, alice.user, "grüezi")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", answer.time)
    await session.send(channel="@all", local_id="m-2", content=b"no text \xff")
    assert program.message((await session.stored("m-2")).conv_seq).content == "no text \ufffd"


def test_what_is_no_message_and_no_number_is_refused(program):
    head = program.head()
    long, longest = "x" * 129, "x" * 128
    for message, code, name in [
        (Message(content="x" * 65_537), Code.OUT_OF_RANGE, "TOO_LARGE"),
        (Message(content="x" * 100_000), Code.OUT_OF_RANGE, None),
        (Message(speakername=long), Code.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (Message(time=long), Code.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    ]:
        error = refused(lambda message=message: program.chat.SendAll(message, timeout=LIMIT_S))
        assert (error.code(), told(error, "tidegate-code")) == (code, name), error.details()
    for number in (0, -1, -(2**63)):
        error = refused(program.message, number)
        assert (error.code(), told(error, "tidegate-code")) == (Code.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    for number in (head + 1, 2**63 - 1):
        error = refused(program.message, number)
        assert (error.code(), told(error, "tidegate-code")) == (Code.NOT_FOUND, "NOT_FOUND")
    raw = program.channel.unary_unary("/chat.Chat/SendAll")
    for not_a_message in (b"\x12\x01\xff", b"\xff", b"\x12\x05ab"):
        assert refused(lambda body=not_a_message: raw(body, timeout=LIMIT_S)).code() == Code.INTERNAL
    assert program.head() == head, "nothing was added"

    # Whoever asks does not matter, and nothing needs to be said.
    assert program.chat.GetMessNum(UserId(id=-5), timeout=LIMIT_S).messnum == head
    for said in (Message(), Message(id=99, speakername=longest, content="x" * 65_536, time=longest), Message(content="\0")):
        head += 1
        answer = program.chat.SendAll(said, timeout=LIMIT_S)
        said.id = head
        assert answer == program.message(head) == said


def test_what_retention_has_taken_is_said_to_be_gone(own_server):
    server = own_server()
    with Program(server.grpc) as program:
        for number in range(30):
            program.say(str(number + 1))
    assert server.stop() == 0
    with Program(own_server("retention.max_entries=10").grpc) as program:
        # It is at work since the start.
        until = time.monotonic() + LIMIT_S
        while (error := first_error(program)) is None:
            assert time.monotonic() < until
        assert error.code() == Code.NOT_FOUND and "not kept any more: the first one is 21" in error.details()
        assert program.head() == 30
        assert [program.message(number).content for number in range(21, 31)] == [str(n) for n in range(21, 31)]
        assert program.say("next").id == 31


def first_error(program: Program) -> grpc.RpcError | None:
    try:
        program.message(20)
    except grpc.RpcError as error:
        return error
    return None


def test_the_token_is_asked_for(own_server):
    token = "change-me-to-something-long"
    server = own_server(f"rpc.token={token}")
    with Program(server.grpc) as program:
        for call in (program.head, lambda: program.say("hello"), lambda: program.message(1), lambda: next(program.codes())):
            assert refused(call).code() == Code.UNAUTHENTICATED
    with Program(server.grpc, token) as program:
        assert program.say("hello").id == program.head() == next(program.codes()) == 1


def test_it_is_described_as_the_text_says(server):
    """Reflection shows what the text makes, and health knows both services."""
    with grpc.insecure_channel(server.grpc) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        for name, service in chat_pb2.DESCRIPTOR.services_by_name.items():
            described = pool.FindServiceByName(f"chat.{name}")
            assert plain(described.file) == plain(service.file)
            answer = HealthStub(channel).Check(HealthCheckRequest(service=f"chat.{name}"), timeout=LIMIT_S)
            assert answer.status == HealthCheckResponse.SERVING


def plain(file) -> FileDescriptorProto:
    described = FileDescriptorProto()
    file.CopyToProto(described)
    for message in described.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return FileDescriptorProto(
        package=described.package, message_type=described.message_type, service=described.service, syntax=described.syntax
    )


def test_the_pages_example_works(own_server, capsys):
    server: Server = own_server()
    (example,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "ChatStub" in text)
    assert "127.0.0.1:50051" in example
    exec(example.replace("127.0.0.1:50051", server.grpc), {})
    assert capsys.readouterr().out == "hello, all\n"
    with Program(server.grpc) as program:
        assert program.message(1) == Message(id=1, speakername="alice", content="hello, all", time="just now")
        assert next(program.notify.Notify(WHOEVER, timeout=LIMIT_S)) == NotiCode(code=1)
