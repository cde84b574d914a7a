"""PostgreSQL: durable as by default, collation of a language (ICU) and not C, time zone UTC."""

import signal
import subprocess
from pathlib import Path

from folder import Home
from service import NotReady, Service, program, request


class Postgres(Service):
    """One server with the database `tidegate` of the role `tidegate`, which may make further databases and is no superuser."""

    name = "postgres"
    account = "postgres"
    # The fast shutdown; SIGTERM would wait for the clients to leave.
    stop_signal = signal.SIGINT

    def missing(self) -> dict[str, str]:
        return {name: "postgresql" for name in ("postgres", "initdb", "psql") if not _program(name)}

    def create(self, home: Home, data: Path) -> None:
        make = [_program("initdb"), "-D", str(data), "-U", "postgres", "-A", "reject", "-E", "UTF8", "--locale=C.UTF-8"]
        options = subprocess.run([make[0], "--help"], capture_output=True, text=True, timeout=30).stdout
        if "--icu-locale" in options:
            make += ["--locale-provider=icu", "--icu-locale=en-US"]
        self.set_up(home, make)
        self.set_up(home, ["tee", str(data / "pg_hba.conf")], stdin=_WHO_GETS_IN)
        # Without the network: the superuser is let in in no other way.
        self.set_up(home, [_program("postgres"), "--single", "-j", "-D", str(data), "postgres"],
                    stdin=_SQL.format(password=home.password()))

    def command(self, home: Home) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": home.port(),
            # A path of a socket may have 107 bytes; that of this folder may have more.
            "unix_socket_directories": "",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "max_connections": 400,
        } | self.settings()
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [_program("postgres"), "-D", str(home.data), *options]

    def clear(self, home: Home) -> None:
        # PostgreSQL takes a killed server for a living one until its parent has reaped it; the first process of many a
        # container does so late or never. That no other server uses the data it knows by the shared memory, too.
        (home.data / "postmaster.pid").unlink(missing_ok=True)

    def ask(self, home: Home) -> None:
        if (answer := query(home, "SELECT 40 + 2")) != "42":
            raise NotReady(f"SELECT 40 + 2 was answered with {answer!r}")

    def url(self, home: Home) -> str:
        return f"postgres://tidegate:{home.password()}@127.0.0.1:{home.port()}/tidegate"


def query(home: Home, sql: str, database: str = "tidegate") -> str:
    """The answer, unadorned."""
    address = f"host=127.0.0.1 port={home.port()} user=tidegate dbname={database} connect_timeout=5"
    return request([_program("psql"), "-XAtqv", "ON_ERROR_STOP=1", "-d", address, "-c", sql], PGPASSWORD=home.password())


def _program(name: str) -> str | None:
    # Debian keeps the servers of each version apart, and not in the PATH.
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    versions.sort(key=lambda path: int(path.parent.name), reverse=True)
    return program(name, folders=tuple(versions))


_WHO_GETS_IN = "host all tidegate 127.0.0.1/32 scram-sha-256\n"

# In single-user mode with -j, a statement ends with a semicolon and an empty line.
_SQL = """\
CREATE ROLE tidegate LOGIN CREATEDB PASSWORD '{password}';

CREATE DATABASE tidegate OWNER tidegate;

"""
