"""Apache Kafka that speaks TLS only, and asks for a user and a password (SASL/PLAIN)."""

import functools
import ssl
from pathlib import Path

import certificate
import kafka_wire
from files import write_whole
from folder import Home
from kafka import Kafka
from service import NotReady


class KafkaTls(Kafka):
    """One broker; `client.properties` in its folder is what librdkafka needs to be let in."""

    name = "kafka-tls"

    def missing(self) -> dict[str, str]:
        return super().missing() | certificate.missing()

    def create(self, home: Home, data: Path) -> None:
        certificate.make(home.path)
        # Kafka wants both in one file.
        both = [(home.path / name).read_text() for name in ("key.pem", "cert.pem")]
        write_whole(home.path / "keystore.pem", "".join(both))
        super().create(home, data)

    def ask(self, home: Home) -> None:
        context = ssl.create_default_context(cafile=str(home.path / "cert.pem"))
        wrap = functools.partial(context.wrap_socket, server_hostname="127.0.0.1")
        try:
            brokers = kafka_wire.brokers(home.port(), kafka_wire.Access(wrap, "tidegate", home.password()))
        except OSError as error:
            raise NotReady(str(error)) from error
        if ("127.0.0.1", home.port()) not in brokers:
            raise NotReady(f"the brokers it names are {brokers}")

    def configuration(self, home: Home, data: Path) -> str:
        values = {"folder": home.path, "password": home.password()}
        write_whole(home.path / "client.properties", _CLIENT.format(**values))
        plain = super().configuration(home, data)
        # The controller's listener stays as it is.
        return plain.replace("PLAINTEXT:PLAINTEXT", "SASL_SSL:SASL_SSL").replace("PLAINTEXT://", "SASL_SSL://") + _SERVER.format(**values)


_CLIENT = """\
security.protocol=SASL_SSL
ssl.ca.location={folder}/cert.pem
sasl.mechanism=PLAIN
sasl.username=tidegate
sasl.password={password}
"""

_SERVER = """\
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
username="tidegate" password="{password}" user_tidegate="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/cert.pem
"""
