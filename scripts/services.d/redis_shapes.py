"""Redis in its other shapes: over TLS, as a cluster, and behind a sentinel."""

import socket
import ssl
import sys
from pathlib import Path

import certificate
from files import write_whole
from folder import Home
from redis import Redis, call, configure, expect_pong
from service import NotReady, program


class RedisTls(Redis):
    """One server that speaks TLS only; `data/cert.pem` is its authority."""

    name = "redis-tls"

    def missing(self) -> dict[str, str]:
        return super().missing() | certificate.missing()

    def create(self, home: Home, data: Path) -> None:
        certificate.make(data)

    def command(self, home: Home) -> list[str]:
        files = [f'tls-cert-file "{home.data}/cert.pem"', f'tls-key-file "{home.data}/key.pem"', "tls-auth-clients no"]
        return [program("redis-server"), str(configure(home, "redis", 0, home.data, f"tls-port {home.port()}", *files))]

    def ask(self, home: Home) -> None:
        context = ssl.create_default_context(cafile=str(home.data / "cert.pem"))

        def dial(address, timeout):
            return context.wrap_socket(socket.create_connection(address, timeout=timeout), server_hostname=address[0])

        expect_pong(call(home, "PING", dial=dial))

    def url(self, home: Home) -> str:
        return f"rediss://default:{home.password()}@127.0.0.1:{home.port()}/0"


class RedisCluster(Redis):
    """Three masters without replicas."""

    name = "redis-cluster"
    port_names = ("client", "second", "third", "client-bus", "second-bus", "third-bus")

    def create(self, home: Home, data: Path) -> None:
        for node in _NODES:
            (data / node).mkdir()

    def command(self, home: Home) -> list[str]:
        def node(name: str) -> Path:
            lines = ["cluster-enabled yes", "cluster-announce-ip 127.0.0.1", f"cluster-port {home.port(f'{name}-bus')}"]
            return configure(home, name, home.port(name), home.data / name, *lines)

        return _together(*map(node, _NODES))

    def ask(self, home: Home) -> None:
        states = [call(home, "CLUSTER", "INFO", port=node) for node in _NODES]
        if all("cluster_state:ok" in state and "cluster_known_nodes:3" in state for state in states):
            return
        # Those that know it already refuse.
        for node, slots in _NODES.items():
            call(home, "CLUSTER", "ADDSLOTSRANGE", *slots, port=node)
            call(home, "CLUSTER", "MEET", "127.0.0.1", str(home.port(node)), str(home.port(f"{node}-bus")))
        raise NotReady("its nodes have not all heard of each other")

    def url(self, home: Home) -> str:
        # The other nodes it names itself.
        return f"redis-cluster://default:{home.password()}@127.0.0.1:{home.port()}"


class RedisSentinel(Redis):
    """A sentinel without a password, and two servers with one; each start begins with the first of them as master."""

    name = "redis-sentinel"
    port_names = ("client", "first", "second")

    def create(self, home: Home, data: Path) -> None:
        for server in ("first", "second"):
            (data / server).mkdir()

    def command(self, home: Home) -> list[str]:
        auth = f"masterauth {home.password()}"
        first = configure(home, "first", home.port("first"), home.data / "first", auth)
        follows = f"replicaof 127.0.0.1 {home.port('first')}"
        second = configure(home, "second", home.port("second"), home.data / "second", auth, follows)
        sentinel = home.path / "sentinel.conf"
        ports = {name: home.port(name) for name in self.port_names}
        write_whole(sentinel, _SENTINEL.format(password=home.password(), data=home.data, **ports))
        return _together(first, second, sentinel)

    def ask(self, home: Home) -> None:
        for server in ("first", "second"):
            expect_pong(call(home, "PING", port=server))
        if "master_link_status:up" not in call(home, "INFO", "replication", port="second"):
            raise NotReady("the replica has not caught up with the master")

    def url(self, home: Home) -> str:
        # Without a user, as before Redis had any: a sentinel without a password refuses one that comes so.
        return f"redis-sentinel://:{home.password()}@127.0.0.1:{home.port()}/0?sentinelServiceName=tidegate"


def _together(*configurations: Path) -> list[str]:
    several = Path(__file__).with_name("several.py")
    return [sys.executable, str(several), program("redis-server"), *map(str, configurations)]


# Each with its part of the slots.
_NODES = {"client": ("0", "5460"), "second": ("5461", "10922"), "third": ("10923", "16383")}

# The replica is named, because a sentinel looks for replicas only every 10 s.
_SENTINEL = """\
bind 127.0.0.1
port {client}
dir "{data}"
daemonize no
logfile ""
sentinel monitor tidegate 127.0.0.1 {first} 1
sentinel auth-pass tidegate {password}
sentinel known-replica tidegate 127.0.0.1 {second}
sentinel down-after-milliseconds tidegate 1000
sentinel failover-timeout tidegate 10000
"""
