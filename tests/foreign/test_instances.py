"""A backend that knows one process finds all of them and balances over those that live (docs/GRPC.md "Balance"). Needs the servers of scripts/services."""

import os
import re
import threading
import time
from pathlib import Path

import grpc
import pytest
from tidegate.v1.message_pb2 import Msg
from tidegate.v1.services_pb2 import Instance, ListInstancesRequest, SendMsgRequest
from tidegate.v1.services_pb2_grpc import ChatServiceStub, RegistryServiceStub

from cluster import TOKEN, Cluster, Process

pytestmark = pytest.mark.services

PAGE = (Path(__file__).parents[2] / "docs/GRPC.md").read_text()
METADATA = [("authorization", f"Bearer {TOKEN}")]
# A lease lives 10 s, and this only ends a hang.
LIMIT_S = 60


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(os.environ["TIDEGATE_BIN"], tmp_path)
    yield cluster
    for process in cluster.processes:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait(LIMIT_S)


class Backend:
    """As the page has it."""

    def __init__(self, known: Process):
        (example,) = (text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "ListInstances" in text)
        page: dict = {}
        exec(example, page)
        self.balanced, self.living = page["balanced"], page["living"]
        self.known = [known.grpc]
        self.channel = self.balanced(self.known)

    def refresh(self) -> list[str]:
        now = self.living(self.channel, METADATA)
        if now and now != self.known:
            old, self.known, self.channel = self.channel, now, self.balanced(now)
            old.close()
        return self.known

    def until(self, processes: list[Process]) -> None:
        """Until these are what is up."""
        wanted, limit = sorted(one.grpc for one in processes), time.monotonic() + LIMIT_S
        while (found := self.refresh()) != wanted:
            assert time.monotonic() < limit, f"{found} in place of {wanted}"
            time.sleep(0.05)

    def instances(self) -> list[Instance]:
        request = ListInstancesRequest()
        return list(RegistryServiceStub(self.channel).ListInstances(request, metadata=METADATA, timeout=15).instances)

    def send(self, cluster: Cluster, number: int) -> None:
        msg = Msg(receiver_id=cluster.user("bob"), local_id=f"m-{number}", content=b"news")
        ChatServiceStub(self.channel).SendMsg(
            SendMsgRequest(msg=msg), metadata=METADATA, timeout=LIMIT_S, wait_for_ready=True
        )

    def send_until_taken(self, cluster: Cluster, processes: list[Process], first: int) -> None:
        """Until each of them took some of what is sent."""
        before = {one.name: one.answered() for one in processes}
        for number in range(first, first + 2_000):
            self.send(cluster, number)
            if all(one.answered() > before[one.name] + 2 for one in processes):
                return
        raise AssertionError("one of them takes nothing")


def test_a_backend_balances_over_whatever_is_up(cluster):
    gateway, one, two = (cluster.start(*process) for process in (("gateway", "g"), ("pipeline", "p"), ("pipeline", "q")))
    backend = Backend(one)
    backend.until([gateway, one, two])
    # A gateway and a pipeline may have one id.
    other = cluster.start("pipeline", "g")
    backend.until([gateway, one, two, other])
    seen = backend.instances()
    assert [(instance.id, *instance.roles, instance.address) for instance in seen] == [
        ("g", Instance.ROLE_GATEWAY, gateway.grpc),
        ("g", Instance.ROLE_PIPELINE, other.grpc),
        ("p", Instance.ROLE_PIPELINE, one.grpc),
        ("q", Instance.ROLE_PIPELINE, two.grpc),
    ]
    assert all(instance.state == Instance.STATE_UP and instance.version and instance.incarnation for instance in seen)
    backend.send_until_taken(cluster, [gateway, one, two, other], 0)

    # One stops while messages are sent: all of them are taken.
    done = threading.Event()
    stopper = threading.Thread(target=stop, args=(one, done))
    stopper.start()
    number = 10_000
    while not done.is_set():
        backend.send(cluster, number)
        number += 1
    stopper.join(LIMIT_S)
    assert one.process.returncode == 0, one.log.read_text()
    assert "p" not in {instance.id for instance in backend.instances()}, "its lease has ended with it"
    backend.until([gateway, two, other])

    # One is killed: its lease runs out, and until then what is sent goes to the others.
    two.process.kill()
    two.process.wait(LIMIT_S)
    for number in range(20_000, 20_050):
        backend.send(cluster, number)
    backend.until([gateway, other])
    assert [instance.id for instance in backend.instances()] == ["g", "g"]
    backend.send_until_taken(cluster, [gateway, other], 30_000)


def stop(process: Process, done: threading.Event) -> None:
    process.process.terminate()
    try:
        process.process.wait(LIMIT_S)
    finally:
        done.set()


def test_who_shows_no_token_is_told_nothing(cluster):
    pipeline = cluster.start("pipeline", "p")
    with grpc.insecure_channel(pipeline.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        RegistryServiceStub(channel).ListInstances(ListInstancesRequest(), timeout=15)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
