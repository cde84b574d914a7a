"""Redis: append-only file, so that what was written survives a kill."""

import socket
from pathlib import Path

from files import write_whole
from folder import Home
from service import NotReady, Service, program


class Redis(Service):
    """One standalone server."""

    name = "redis"
    start_limit_s = 30
    stop_limit_s = 30

    def missing(self) -> dict[str, str]:
        return {} if program("redis-server") else {"redis-server": "redis-server"}

    def create(self, home: Home, data: Path) -> None:
        """It makes its files itself."""

    def command(self, home: Home) -> list[str]:
        # In a file, because a command line can be read by everybody on the machine.
        configuration = home.path / "redis.conf"
        write_whole(configuration, _CONFIGURATION.format(port=home.port(), password=home.password(), data=home.data))
        return [program("redis-server"), str(configuration)]

    def ask(self, home: Home) -> None:
        answer = call(home, "PING")
        if answer != "+PONG":
            raise NotReady(f"PING was answered with {answer}")

    def url(self, home: Home) -> str:
        return f"redis://default:{home.password()}@127.0.0.1:{home.port()}/0"


def call(home: Home, *words: str) -> str:
    """The answer to one command, whose answer is a simple string, an error or a bulk string."""
    command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    hello = f"*2\r\n$4\r\nAUTH\r\n${len(home.password())}\r\n{home.password()}\r\n"
    try:
        with socket.create_connection(("127.0.0.1", home.port()), timeout=5) as connection, connection.makefile("rwb") as stream:
            stream.write((hello + command).encode())
            stream.flush()
            if (granted := _line(stream)) != "+OK":
                raise NotReady(f"AUTH was answered with {granted}")
            answer = _line(stream)
            return stream.read(int(answer[1:]) + 2).decode().removesuffix("\r\n") if answer.startswith("$") else answer
    except OSError as error:
        raise NotReady(str(error)) from error


def _line(stream) -> str:
    line = stream.readline().decode()
    if not line.endswith("\r\n"):
        raise NotReady("the connection was closed")
    return line.removesuffix("\r\n")


_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{data}"
daemonize no
logfile ""
appendonly yes
save ""
"""
