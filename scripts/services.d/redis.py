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
        return [program("redis-server"), str(configure(home, "redis", home.port(), home.data))]

    def ask(self, home: Home) -> None:
        expect_pong(call(home, "PING"))

    def url(self, home: Home) -> str:
        return f"redis://default:{home.password()}@127.0.0.1:{home.port()}/0"


def configure(home: Home, name: str, port: int, data: Path, *lines: str) -> Path:
    """Writes a configuration, and names it."""
    # In a file, because a command line can be read by everybody on the machine.
    configuration = home.path / f"{name}.conf"
    common = _CONFIGURATION.format(port=port, password=home.password(), data=data)
    write_whole(configuration, common + "".join(f"{line}\n" for line in lines))
    return configuration


def call(home: Home, *words: str, port: str = "client", dial=socket.create_connection) -> str:
    """The answer to one command, whose answer is a simple string, an error, a number or a bulk string."""
    command = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
    hello = f"*2\r\n$4\r\nAUTH\r\n${len(home.password())}\r\n{home.password()}\r\n"
    try:
        with dial(("127.0.0.1", home.port(port)), timeout=5) as connection, connection.makefile("rwb") as stream:
            stream.write((hello + command).encode())
            stream.flush()
            if (granted := _line(stream)) != "+OK":
                raise NotReady(f"AUTH was answered with {granted}")
            answer = _line(stream)
            return stream.read(int(answer[1:]) + 2).decode().removesuffix("\r\n") if answer.startswith("$") else answer
    except OSError as error:
        raise NotReady(str(error)) from error


def expect_pong(answer: str) -> None:
    """NotReady for any other answer to a PING."""
    if answer != "+PONG":
        raise NotReady(f"PING was answered with {answer}")


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
repl-diskless-sync-delay 0
"""
