"""chat.Chat and chat.Notify of several processes, which are one log. Needs the servers of scripts/services."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tidegate.v1.message_pb2 import Msg
from tidegate.v1.services_pb2 import SendMsgRequest
from tidegate.v1.services_pb2_grpc import ChatServiceStub

from broadcast import Message
from cluster import TOKEN, Cluster, Process
from test_broadcast import Program, refused
from transport import LIMIT_S

pytestmark = pytest.mark.services

EACH = 60


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(os.environ["TIDEGATE_BIN"], tmp_path)
    yield cluster
    for process in cluster.processes:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait(LIMIT_S)


def send_many(process: Process, start: threading.Barrier) -> list[Message]:
    with Program(process.grpc, TOKEN) as program:
        start.wait(LIMIT_S)
        return [program.say(f"{process.name} says {number}", process.name) for number in range(EACH)]


def until_something_is_stored(process: Process) -> int:
    """The first message waits until the pipelines have their partitions. The head then; the database is everybody's."""
    with Program(process.grpc, TOKEN) as program:
        before, until = program.head(), time.monotonic() + 2 * LIMIT_S
        msg = Msg(channel="@all", content=b"begin")
        chat = ChatServiceStub(program.channel)
        chat.SendMsg(SendMsgRequest(msg=msg), **program.options)
        while (head := program.head()) == before:
            assert time.monotonic() < until, process.log.read_text()
            time.sleep(0.05)
        return head


def test_every_process_serves_the_same_log(cluster):
    gateway, one, two = (cluster.start(*process) for process in (("gateway", "g"), ("pipeline", "p"), ("pipeline", "q")))
    programs = {process.name: Program(process.grpc, TOKEN) for process in (gateway, one, two)}
    before = until_something_is_stored(gateway)
    streams = {name: program.codes() for name, program in programs.items()}
    assert {next(stream) for stream in streams.values()} == {before}
    with ThreadPoolExecutor() as pool:
        start = threading.Barrier(3)
        sending = [pool.submit(send_many, process, start) for process in (gateway, one, two)]
        sent = [message for sender in sending for message in sender.result(LIMIT_S)]
    last = before + 3 * EACH
    assert sorted(message.id for message in sent) == list(range(before + 1, last + 1))
    for name, stream in streams.items():
        codes = [next(stream)]
        while codes[-1] < last:
            codes.append(next(stream))
        assert codes == sorted(set(codes)) and codes[-1] == last, name
    for name, program in programs.items():
        assert program.head() == last, name
        for message in sent:
            assert program.message(message.id) == message
        assert refused(program.message, last + 1).code() == grpc.StatusCode.NOT_FOUND

    one.process.terminate()
    assert refused(next, streams[one.name]).code() == grpc.StatusCode.UNAVAILABLE
    assert one.process.wait(LIMIT_S) == 0, one.log.read_text()
    said = programs[two.name].say("the others go on")
    assert said.id == last + 1
    assert next(streams[gateway.name]) == next(streams[two.name]) == last + 1
    for program in programs.values():
        program.channel.close()
    for process in (gateway, two):
        process.process.terminate()
        assert process.process.wait(LIMIT_S) == 0, process.log.read_text()
