"""What the four servers have in common: how a kind of server is described, and how its programs are found and called."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from folder import Home
from process import primary_group


class Failed(Exception):
    """Something did not work; the text says what, where and what to do."""


class NotReady(Exception):
    """The server does not answer as it must, yet."""


class Service:
    """A kind of server. All differences between the four are overridden here."""

    name = ""
    # The account it runs as when we are root; None: as root itself.
    account: str | None = None
    port_names = ("client",)
    stop_signal = signal.SIGTERM
    start_limit_s = 60
    stop_limit_s = 60

    def missing(self) -> dict[str, str]:
        """The programs that are not there, each with the Debian package that has it."""
        raise NotImplementedError

    def create(self, home: Home, data: Path) -> None:
        """Makes the first data in the empty folder `data`, which becomes `home.data` if this succeeds."""
        raise NotImplementedError

    def command(self, home: Home) -> list[str]:
        """The server's command line, in the foreground; writes its configuration first if it has one."""
        raise NotImplementedError

    def clear(self, home: Home) -> None:
        """Before a start: removes what a killed server has left and what would hinder the next. Surely none runs."""

    def ask(self, home: Home) -> None:
        """One real request, of at most a few seconds; raises NotReady if it is not answered well."""
        raise NotImplementedError

    def url(self, home: Home) -> str:
        """The address for TIDEGATE_TEST_<NAME>."""
        raise NotImplementedError

    def settings(self) -> dict[str, str]:
        """What the environment has for it at its start: POSTGRES_SETTINGS="shared_buffers=2GB max_wal_size=8GB" and so on."""
        words = os.environ.get(f"{self.name.upper()}_SETTINGS", "").split()
        if wrong := [word for word in words if "=" not in word]:
            raise Failed(f"{self.name.upper()}_SETTINGS: {wrong[0]!r} is not NAME=VALUE")
        return dict(word.split("=", 1) for word in words)

    def runs_as(self) -> str | None:
        """The account to change to; None: our own."""
        return self.account if os.geteuid() == 0 else None

    def set_up(self, home: Home, command: list[str], stdin: str = "", limit_s: float = 180) -> None:
        """Runs a program that prepares data, as the server's account; its output goes to the server's log."""
        user = self.runs_as()
        account = {"user": user, "group": primary_group(user), "extra_groups": []} if user else {}
        with open(home.log, "ab") as output:
            try:
                done = subprocess.run(
                    command, input=stdin.encode(), stdout=output, stderr=output, cwd=home.path,
                    env=server_environment(home), timeout=limit_s, umask=0o077, **account,
                )
            except subprocess.TimeoutExpired:
                raise Failed(f"{self.name}: {command[0]} did not end within {limit_s:.0f} s{tail(home.log)}") from None
        if done.returncode:
            raise Failed(f"{self.name}: {command[0]} ended with {done.returncode}{tail(home.log)}")


def request(command: list[str], **secrets: str) -> str:
    """What a client program answers; NotReady with its complaint if it fails."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, env=clean_environment() | secrets
        )
    except subprocess.TimeoutExpired:
        raise NotReady(f"{command[0]} had no answer for 10 s") from None
    if done.returncode:
        raise NotReady(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")
    return done.stdout.strip()


def program(*names: str, folders: tuple[Path, ...] = ()) -> str | None:
    """The first of the names that is installed, in these folders, the PATH, or where Debian keeps servers."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def clean_environment() -> dict[str, str]:
    """An environment in which no setting of the caller's (PGHOST, MYSQL_HOME, JAVA_TOOL_OPTIONS) changes what a server does."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC"}


def server_environment(home: Home) -> dict[str, str]:
    """The same, with temporary files at home: the caller's TMPDIR may be closed to the server's account."""
    return clean_environment() | {"TMPDIR": str(home.tmp)}


def tail(log: Path, since: int = 0) -> str:
    """The last lines of a log, for a message; none from before the byte `since`."""
    try:
        last = log.read_bytes()[since:].decode(errors="replace").splitlines()[-25:]
    except FileNotFoundError:
        return f"; there is no log {log}"
    return "\n".join([f"; the end of {log}:", *(f"  | {line}" for line in last)])
