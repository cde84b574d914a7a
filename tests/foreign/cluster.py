"""Gateways and pipelines on the servers of scripts/services, apart from what other tests have there."""

import os
import queue
import subprocess
import threading
import urllib.request
import uuid
from pathlib import Path

from transport import LIMIT_S

TOKEN = "change-me-to-something-long"


class Cluster:
    """What its processes have in common."""

    def __init__(self, binary: str, folder: Path):
        self.binary, self.folder = binary, folder
        self.name = f"foreign-{uuid.uuid4().hex[:12]}"
        self.processes: list[Process] = []
        kafka, redis, postgres = (os.environ[f"TIDEGATE_TEST_{server}"] for server in ("KAFKA", "REDIS", "POSTGRES"))
        self.settings = [
            f"kafka.brokers={kafka}",
            f"kafka.topic={self.name}.messages",
            f"kafka.dead_topic={self.name}.dead",
            f"kafka.group={self.name}",
            "kafka.partitions=4",
            f"presence.url={redis}",
            f"presence.prefix={self.name}:",
            f"store.url={postgres}",
            f"rpc.token={TOKEN}",
            "listen.admin=127.0.0.1:0",
            "listen.grpc=127.0.0.1:0",
            "listen.quic=127.0.0.1:0",
            "listen.http=127.0.0.1:0",
        ]

    def user(self, name: str) -> str:
        """A user nobody else has; the database is everybody's."""
        return f"{name}.{self.name}"

    def start(self, role: str, process_id: str) -> "Process":
        self.processes.append(Process(self, role, process_id))
        return self.processes[-1]


class Process:
    """A running gateway or pipeline."""

    def __init__(self, cluster: Cluster, role: str, process_id: str):
        self.name = f"{role}-{process_id}"
        settings = [*cluster.settings, f"gateway.id={process_id}", f"data={cluster.folder / self.name}"]
        # The program takes every TIDEGATE_ variable for a setting.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        self.log = cluster.folder / f"{self.name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [cluster.binary, role, *(f"--set={setting}" for setting in settings)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        said: queue.Queue[str] = queue.Queue()

        def read() -> None:
            # To the end, so that the process never waits for us.
            for line in self.process.stdout:
                said.put(line.strip())
            said.put("end")

        threading.Thread(target=read, daemon=True).start()
        addresses: dict[str, str] = {}
        while "grpc" not in addresses:
            key, _, value = said.get(timeout=LIMIT_S).partition(" ")
            assert key != "end", self.log.read_text()
            addresses[key] = value.strip()
        self.grpc, self.admin = addresses["grpc"], addresses["admin"]

    def answered(self) -> int:
        """Requests of gRPC that it answered well."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=LIMIT_S) as answer:
            lines = answer.read().decode().splitlines()
        (line,) = (line for line in lines if line.startswith('tidegate_rpc_requests_total{code="OK"}'))
        return int(line.split()[-1])
