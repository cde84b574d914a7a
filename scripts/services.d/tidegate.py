"""Tidegate's own processes as servers: gateways and pipelines of one cluster, each with a configuration written at its start."""

import http.client
import json
import secrets
import subprocess
import time
from pathlib import Path

import kafka
import mariadb
import postgres
import redis
from files import write_whole
from folder import Folder, Home
from service import Failed, NotReady, Service, clean_environment

BACKENDS = (kafka.Kafka(), redis.Redis())
STORES = {"postgres": postgres.Postgres(), "mysql": mariadb.MariaDb()}


class Cluster:
    """What the processes of a folder have in common: DIR/cluster holds it."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.home = folder.home("cluster")

    def settle(self, program: Path, store: str, gateways: int, pipelines: int, settings: list[str]) -> None:
        """Decides what it consists of; the secrets stay."""
        self.home.path.mkdir(mode=0o711, exist_ok=True)
        kept = self.home.state()
        if kept.get("store", store) != store:
            raise Failed(f"{self.folder.path} has its messages in {kept['store']}: leave out --store, or name another folder")
        drawn = {name: kept.get(name) or secrets.token_hex(32) for name in ("users", "processes")}
        self.home.remember(program=str(program), store=store, gateways=gateways, pipelines=pipelines, settings=settings, **drawn)

    def exists(self) -> bool:
        """Whether it was ever brought up."""
        return bool(self.home.state())

    def program(self) -> str:
        """The `tidegate` that its processes are started from."""
        return self.home.state()["program"]

    def settings(self) -> list[str]:
        """What `up --set` said, for every process."""
        return self.home.state()["settings"]

    def secret(self, which: str) -> str:
        """64 hex digits: of the tokens of `users`, or between `processes`."""
        return self.home.state()[which]

    def store(self) -> Service:
        """The server with the messages."""
        return STORES[self.home.state()["store"]]

    def backends(self) -> list[Service]:
        """What the processes stand on."""
        return [*BACKENDS, self.store()]

    def gateways(self) -> list["Gateway"]:
        """In order."""
        return [Gateway(self, number + 1) for number in range(self.home.state()["gateways"])]

    def pipelines(self) -> list["Pipeline"]:
        """In order."""
        return [Pipeline(self, number + 1) for number in range(self.home.state()["pipelines"])]

    def processes(self) -> list["Process"]:
        """All of them."""
        return [*self.gateways(), *self.pipelines()]

    def members(self) -> dict[str, Service]:
        """Everything by name, in the order of start."""
        return {one.name: one for one in [*self.backends(), *self.processes()]}

    def url(self, backend: Service) -> str:
        """Where a backend is reached."""
        return backend.url(self.folder.home(backend.name))

    def certify(self) -> None:
        """One certificate for all gateways, so that whoever believes one of them believes them all; of at most 14 days."""
        chain = self.certificate()[0]
        if chain.exists() and time.time() - chain.stat().st_mtime < _CERTIFICATE_LIFE_S:
            return
        self.ask_program("cert", "new", "--data", str(chain.parent))

    def certificate(self) -> tuple[Path, Path]:
        """The chain and its key."""
        return self.home.path / "tls" / "dev-cert.pem", self.home.path / "tls" / "dev-key.pem"

    def fingerprint(self) -> str:
        """The certificate's SHA-256, in hex."""
        shown = self.ask_program("cert", "show", "--data", str(self.certificate()[0].parent))
        line = next(line for line in shown.splitlines() if line.startswith("sha256"))
        return line.split()[-1].replace(":", "").lower()

    def ask_program(self, *words: str) -> str:
        """What a command of the program prints."""
        done = subprocess.run([self.program(), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                              env=clean_environment(), umask=0o077)
        if done.returncode:
            raise Failed(f"tidegate {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout


class Process(Service):
    """A process of the cluster; its role is the subcommand it is started by."""

    role = ""
    port_names = ("grpc", "admin")
    start_limit_s = 60
    stop_limit_s = 30

    def __init__(self, cluster: Cluster, number: int):
        self.cluster = cluster
        self.name = f"{self.role}-{number}"

    def missing(self) -> dict[str, str]:
        return {}

    def create(self, home: Home, data: Path) -> None:
        """It makes its files itself."""

    def command(self, home: Home) -> list[str]:
        write_whole(self.file(home), _toml(self.configuration(home)))
        extra = [word for setting in self.cluster.settings() for word in ("--set", setting)]
        return [self.cluster.program(), self.role, "--config", str(self.file(home)), *extra]

    def ask(self, home: Home) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", home.port("admin"), timeout=5)
        try:
            connection.request("GET", "/ready")
            answer = connection.getresponse()
            said = answer.read().decode(errors="replace").strip()
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(str(error)) from error
        finally:
            connection.close()
        if answer.status != 200:
            raise NotReady(said)

    def url(self, home: Home) -> str:
        return f"http://127.0.0.1:{home.port('admin')}"

    def addresses(self, home: Home) -> dict[str, str]:
        """What it is reached by."""
        return {"grpc": f"127.0.0.1:{home.port('grpc')}", "admin": f"http://127.0.0.1:{home.port('admin')}"}

    def file(self, home: Home) -> Path:
        """Its configuration."""
        return home.path / "tidegate.toml"

    def configuration(self, home: Home) -> dict:
        """Its settings, by section."""
        cluster = self.cluster
        return {
            "": {"data": str(home.data)},
            "listen": {"grpc": f"127.0.0.1:{home.port('grpc')}", "admin": f"127.0.0.1:{home.port('admin')}"},
            "kafka": {"brokers": [cluster.url(kafka.Kafka())]},
            "presence": {"url": cluster.url(redis.Redis())},
            "store": {"url": cluster.url(cluster.store())},
            "rpc": {"token": cluster.secret("processes")},
            "gateway": {"id": self.name},
        }


class Gateway(Process):
    """Clients come in here."""

    role = "gateway"
    port_names = ("quic", "http", "grpc", "admin")

    def create(self, home: Home, data: Path) -> None:
        # Development mode, with one secret for all: a token is good at each gateway.
        write_whole(data / "dev-secret", self.cluster.secret("users"))

    def url(self, home: Home) -> str:
        return f"http://localhost:{home.port('http')}"

    def addresses(self, home: Home) -> dict[str, str]:
        return {"demo": self.url(home), "quic": f"127.0.0.1:{home.port('quic')}", **super().addresses(home)}

    def configuration(self, home: Home) -> dict:
        settings = super().configuration(home)
        chain, key = self.cluster.certificate()
        settings["listen"] |= {
            "quic": f"127.0.0.1:{home.port('quic')}",
            "http": f"127.0.0.1:{home.port('http')}",
            "public_urls": f"https://127.0.0.1:{home.port('quic')}",
            "allowed_origins": self.origins(),
        }
        return settings | {"tls": {"cert_file": str(chain), "key_file": str(key)}}

    def origins(self) -> list[str]:
        """The demo pages of all gateways: a page goes on with another gateway when its own has gone."""
        homes = [self.cluster.folder.home(gateway.name) for gateway in self.cluster.gateways()]
        ports = [home.port("http") for home in homes if home.state()]
        return [f"http://{host}:{port}" for port in ports for host in ("localhost", "127.0.0.1")]


class Pipeline(Process):
    """Puts messages in order, stores them and hands them to the gateways."""

    role = "pipeline"


def _toml(sections: dict) -> str:
    lines = []
    for name, settings in sections.items():
        lines += [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings.items()]
    return "\n".join([*lines, ""])


# Well below the 14 days that browsers believe such a certificate.
_CERTIFICATE_LIFE_S = 7 * 24 * 3600
