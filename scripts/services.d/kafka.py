"""Apache Kafka: one process that is broker and controller (KRaft)."""

import base64
import os
import re
import secrets
from pathlib import Path

import kafka_jars
import kafka_wire
from files import write_whole
from folder import Home
from service import NotReady, Service, program


class Kafka(Service):
    """One broker; topics are made by those who want them, never by a mere look."""

    name = "kafka"
    port_names = ("client", "controller")
    start_limit_s = 120

    def missing(self) -> dict[str, str]:
        missing = {}
        if not (java := program("java")) or _version(java) < 17:
            missing["java (17 or later)"] = "default-jre-headless"
        if not kafka_jars.folder().exists() and not program("mvn"):
            missing["mvn"] = "maven"
        return missing

    def create(self, home: Home, data: Path) -> None:
        cluster = base64.urlsafe_b64encode(b"\0" + secrets.token_bytes(15)).decode().rstrip("=")
        configuration = self._configure(home, data)
        self.set_up(home, [*_java(home, "-XX:TieredStopAtLevel=1"), "kafka.tools.StorageTool", "format",
                           "--cluster-id", cluster, "--config", str(configuration)])

    def command(self, home: Home) -> list[str]:
        # Kafka's own variable for it.
        heap = os.environ.get("KAFKA_HEAP_OPTS", "-Xms256m -Xmx512m").split()
        configuration = self._configure(home, home.data)
        return [*_java(home, *heap, "-XX:+ExitOnOutOfMemoryError"), "kafka.Kafka", str(configuration)]

    def ask(self, home: Home) -> None:
        try:
            brokers = kafka_wire.brokers(home.port())
        except OSError as error:
            raise NotReady(str(error)) from error
        if ("127.0.0.1", home.port()) not in brokers:
            raise NotReady(f"the brokers it names are {brokers}")

    def url(self, home: Home) -> str:
        return f"127.0.0.1:{home.port()}"

    def _configure(self, home: Home, data: Path) -> Path:
        file = home.path / "server.properties"
        write_whole(file, self.configuration(home, data))
        return file

    def configuration(self, home: Home, data: Path) -> str:
        """Its settings."""
        return _CONFIGURATION.format(port=home.port(), controller=home.port("controller"), data=data)


def _java(home: Home, *options: str) -> list[str]:
    # Without the thousands of lines that list every setting.
    quiet = ("log.kafka.server.KafkaConfig=warn", "log.org.apache.kafka.common.config=warn")
    logging = [f"-Dorg.slf4j.simpleLogger.{name}" for name in ("showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS", *quiet)]
    return [program("java"), f"-Djava.io.tmpdir={home.tmp}", "-XX:-UsePerfData", *options, *logging, "-cp", f"{kafka_jars.folder()}/*"]


def _version(java: str) -> int:
    # Read, because starting a JVM to ask takes longer than all other checks.
    release = Path(java).resolve().parents[1] / "release"
    found = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE) if release.exists() else None
    return int(found[1]) if found else 17


_CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""
