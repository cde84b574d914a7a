"""`selftest`: everything twice side by side, written, read, killed and started again; afterwards no process and no port is left."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import folder as folders
import kafka_wire
import mariadb
import ports
import postgres
import process
import redis
from folder import Folder, Home
from service import NotReady

NAMES = ["kafka", "redis", "postgres", "mariadb"]


def run(script: Path) -> int:
    """All of it; 0, or an exception that says what is wrong."""
    with tempfile.TemporaryDirectory(prefix="tidegate-selftest-") as base:
        bench = Bench(script, Path(base))
        bench.base.chmod(0o711)
        try:
            bench.side_by_side()
            bench.temporary()
            bench.refusals()
        finally:
            for one in bench.made:
                bench.call("down", "--wipe", "--dir", str(one), expect=None)
            bench.bystander.kill()
            bench.bystander.wait()
    print("services selftest: all passed")
    return 0


class Bench:
    """The program under test and what it was made to start."""

    def __init__(self, script: Path, base: Path):
        self.script = script
        self.base = base
        self.made = []
        # Somebody else's process, which must live to the end.
        self.bystander = subprocess.Popen(["sleep", "3600"])

    def call(self, *words: str, expect: int | None = 0, environment: dict | None = None) -> str:
        """What a command prints, on either output."""
        done = subprocess.run([sys.executable, self.script, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=900, env=self.environment() | (environment or {}))
        check(expect in (None, done.returncode), f"{' '.join(words)} ended with {done.returncode}, not {expect}:\n{done.stdout}")
        return done.stdout

    def environment(self) -> dict:
        """Ours, but that we may ourselves be in a `run`, and that the folder remembered is of this test only."""
        return {name: value for name, value in os.environ.items() if name != folders.VARIABLE} | {"TMPDIR": str(self.base)}

    def side_by_side(self) -> None:
        """Two instances of all four."""
        # A blank, and too long for the path of a socket.
        pair = [Folder(self.base / "one"), Folder(self.base / f"the other {'x' * 100}")]
        self.made += [one.path for one in pair]
        homes = [one.home(name) for one in pair for name in NAMES]
        with step("up, two instances at the same time"):
            each(lambda one: self.call("up", "--dir", str(one.path)), pair)
        addresses = {home.path: (home.port(), home.password()) for home in homes}
        check(len({port for port, _ in addresses.values()}) == len(homes), "two servers have the same port")
        seen = {one for home in homes for one in family(home)}
        with step("each holds what was written to it, and only that"):
            each(lambda home: write(home, str(home.path)), homes)
            each(holds_its_own, homes)
        with step("settings"):
            each(settings, [pair[0].home("postgres"), pair[1].home("mariadb")])
        with step("kill, start: same address, same data"):
            each(self.kill_and_start, homes)
            seen |= {one for home in homes for one in family(home)}
        with step("stop, start: same address, same data"):
            each(self.stop_and_start, [pair[0].home(name) for name in NAMES])
            seen |= {one for home in homes for one in family(home)}
        check(addresses == {home.path: (home.port(), home.password()) for home in homes}, "an address has changed")
        with step("a server that dies by itself; a pid that has become another's"):
            self.died(pair[1].home("redis"))
            self.recycled(pair[1].home("redis"))
            seen |= set(family(pair[1].home("redis")))
        used = [port for home in homes for port in home.state()["ports"].values()]
        with step("down: the other instance lives on"):
            self.call("down", "--dir", str(pair[0].path))
            each(holds_its_own, homes[len(NAMES):])
        with step("up again on a kept folder"):
            self.call("up", "redis", "--dir", str(pair[0].path))
            holds_its_own(pair[0].home("redis"))
            seen |= set(family(pair[0].home("redis")))
        with step("down, and nothing is left"):
            each(lambda one: self.call("down", "--wipe", "--dir", str(one.path)), pair)
            nothing_left(seen, used)
            check(not any(one.path.exists() for one in pair), "a folder is still there")

    def kill_and_start(self, home: Home) -> None:
        """With SIGKILL."""
        before = family(home)
        self.call("kill", home.name, "--dir", str(home.folder))
        nothing_left(before, home.state()["ports"].values())
        check("stopped" in self.line(home), "a killed server is not shown as stopped")
        self.call("start", home.name, "--dir", str(home.folder))
        holds_its_own(home)

    def stop_and_start(self, home: Home) -> None:
        """In order, and halted by SIGSTOP before."""
        before = family(home)
        process.send(home.process(), signal.SIGSTOP)
        check("killing" not in self.call("stop", home.name, "--dir", str(home.folder)), f"{home.name} did not stop in order")
        nothing_left(before, home.state()["ports"].values())
        self.call("start", home.name, "--dir", str(home.folder))
        holds_its_own(home)

    def died(self, home: Home) -> None:
        """Killed by somebody else."""
        process.kill_tree(home.process(), 10)
        check("died" in self.line(home), "a server that died is not shown as such")
        self.call("start", home.name, "--dir", str(home.folder))
        holds_its_own(home)

    def recycled(self, home: Home) -> None:
        """The pid we remember is now the bystander's, whose start time is not what we remember."""
        self.call("stop", home.name, "--dir", str(home.folder))
        bystander = process.identity(self.bystander.pid)
        for other in (replace(bystander, started=bystander.started - 1), replace(bystander, boot="another")):
            for command in ("kill", "stop"):
                home.remember_process(other)
                check("already" in self.call(command, home.name, "--dir", str(home.folder)), f"{command} saw the bystander")
                check(process.alive(bystander), f"{command} has ended another's process")
        self.call("start", home.name, "--dir", str(home.folder))
        holds_its_own(home)

    def line(self, home: Home) -> str:
        """Its line of `status`."""
        shown = self.call("status", "--dir", str(home.folder), expect=None).splitlines()
        return next(line for line in shown if line.startswith(home.name))

    def temporary(self) -> None:
        """Instances without --dir: that of `up`, and those of `run`."""
        with step("up and down without --dir"):
            path = Path(self.call("up", "redis").split()[1])
            self.made.append(path)
            check(f"TIDEGATE_TEST_SERVICES={path}" in self.call("env"), "`env` does not mean the folder of `up`")
            seen = family(Folder(path).home("redis"))
            self.call("down")
            nothing_left(seen, [])
            check(not path.exists(), "the temporary folder is still there")
            check("nothing is up" in self.call("down"), "a second `down` does not say that nothing is up")
        with step("run: the command's exit code, its environment, and faults from inside"):
            inside = f"'{sys.executable}' '{self.script}'"
            fault = f"set -e; {inside} kill postgres; {inside} start postgres; echo $TIDEGATE_TEST_POSTGRES $TIDEGATE_TEST_SERVICES; exit 7"
            said = self.call("run", "postgres", "--", "sh", "-c", fault, expect=7)
            check("postgres://tidegate:" in said, f"the environment is not there: {said}")
            check(not Path(said.split()[-1]).exists(), "the folder of `run` is still there")
            self.call("run", "redis", "--", "/nowhere", expect=127)
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
            with step(f"run, ended by {number.name}"):
                self.interrupted(number, code)

    def interrupted(self, number: signal.Signals, code: int) -> None:
        """The command and the servers end with the program, even if it is killed; a killed one leaves only the command."""
        note = self.base / f"started-{number.name}"
        work = f"echo $TIDEGATE_TEST_SERVICES > '{note}.new'; mv '{note}.new' '{note}'; exec sleep 3600"
        program = subprocess.Popen([sys.executable, self.script, "run", "redis", "--", "sh", "-c", work],
                                   env=self.environment(), start_new_session=True)
        eventually(note.exists, "the command starts")
        home = Folder(Path(note.read_text().strip())).home("redis")
        self.made.append(home.folder)
        servers, port = family(home), home.port()
        children = process.descendants(process.identity(program.pid))
        command = [one for one in children if "sleep" in Path(f"/proc/{one.pid}/cmdline").read_text()]
        # As a terminal does: to the whole group.
        (os.killpg if number == signal.SIGINT else os.kill)(program.pid, number)
        check(program.wait(timeout=120) == code, f"it ended with {program.returncode}, not {code}")
        eventually(lambda: not home.folder.exists(), "the folder goes")
        nothing_left(servers, [port])
        check(len(command) == 1, "the command is not seen")
        if number == signal.SIGKILL:
            process.kill_tree(command[0], 10)
        nothing_left(command, [])

    def refusals(self) -> None:
        """What cannot work says why, and leaves nothing."""
        with step("refusals"):
            fakes = self.base / "fakes"
            fakes.mkdir()
            (fakes / "redis-server").write_text("#!/bin/sh\necho the disk is made of cheese\nexit 1\n")
            (fakes / "redis-server").chmod(0o755)
            before = set(self.base.iterdir())
            said = self.call("up", "redis", expect=1, environment={"PATH": f"{fakes}:{os.environ['PATH']}"})
            check("ended while it started" in said and "made of cheese" in said, f"the reason is not told: {said}")
            check(set(self.base.iterdir()) == before, "a failed `up` has left its folder")
            check("holds other things" in self.call("up", "redis", "--dir", str(fakes), expect=1), "a strange folder is taken")
            check("run 1" not in self.call("start", "redis", "--dir", str(fakes), expect=1), "a strange folder is taken")
            if os.geteuid() == 0:
                closed = self.base / "closed"
                closed.mkdir(mode=0o700)
                self.made.append(closed / "in")
                said = self.call("up", "postgres", "--dir", str(closed / "in"), expect=1)
                check("cannot get into" in said, f"the reason is not told: {said}")


def write(home: Home, value: str) -> None:
    """One value into a server."""
    match home.name:
        case "kafka":
            kafka_wire.create_topic(home.port(), "selftest")
            within(lambda: kafka_wire.produce(home.port(), "selftest", value.encode()))
        case "redis":
            check(redis.call(home, "SET", "selftest", value) == "+OK", "SET was refused")
        case "postgres":
            postgres.query(home, f"CREATE TABLE selftest AS SELECT '{value}' AS value")
        case "mariadb":
            mariadb.query(home, f"CREATE TABLE selftest AS SELECT '{value}' AS value")


def holds_its_own(home: Home) -> None:
    """The value that `write` put there, and no other."""
    value = str(home.path)
    match home.name:
        case "kafka":
            high, batches = within(lambda: kafka_wire.fetch(home.port(), "selftest"))
            found = value if high == 1 and value.encode() in batches else f"{high} records: {batches}"
        case "redis":
            found = redis.call(home, "GET", "selftest")
        case "postgres":
            found = postgres.query(home, "SELECT value FROM selftest")
        case "mariadb":
            found = mariadb.query(home, "SELECT value FROM selftest")
    check(found == value, f"{home.path} holds {found}")


def settings(home: Home) -> None:
    """Durable, UTC, no collation of bytes, and a user that makes databases."""
    other = f"made_{secrets.token_hex(4)}"
    if home.name == "postgres":
        shown = [postgres.query(home, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes", "timezone")]
        check(shown == ["on", "on", "on", "UTC"], f"settings of PostgreSQL: {shown}")
        check(postgres.query(home, "SELECT 'a' < 'B'") == "t", "the collation is that of C")
        postgres.query(home, f"CREATE DATABASE {other}")
        check(postgres.query(home, "SELECT 'a' < 'B'", other) == "t", "the collation of a new database is that of C")
    else:
        shown = mariadb.query(home, "SELECT @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@time_zone, TIMEDIFF(NOW(), UTC_TIMESTAMP())")
        check(shown.split() == ["1", "1", "+00:00", "00:00:00"], f"settings of MariaDB: {shown}")
        mariadb.query(home, f"CREATE DATABASE {other}")
        mariadb.query(home, "CREATE TABLE t (n INT)", other)


def family(home: Home) -> list[process.Identity]:
    """A server's processes."""
    who = home.process()
    check(who is not None and process.alive(who), f"{home.path} does not run")
    return [who, *process.descendants(who)]


def nothing_left(processes, used_ports) -> None:
    """None of the processes lives, none of the ports is listened on."""
    check(not (left := [who for who in processes if process.alive(who)]), f"processes are left: {left}")
    check(not (left := [port for port in used_ports if not ports.bindable(port)]), f"ports are left: {left}")


def each(action, things) -> None:
    """For all at the same time."""
    with ThreadPoolExecutor(len(things)) as pool:
        list(pool.map(action, things))


def within(action, limit_s: float = 60):
    """What it answers once it no longer fails: a broker's partitions come a moment after the broker."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            return action()
        except (OSError, NotReady):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def eventually(condition, what: str, limit_s: float = 120) -> None:
    """Waits for it."""
    deadline = time.monotonic() + limit_s
    while not condition():
        check(time.monotonic() < deadline, f"within {limit_s} s: {what}")
        time.sleep(0.05)


@contextmanager
def step(what: str):
    """Says what is tried, and how long it took."""
    begin = time.monotonic()
    print(f"{what} ...", end=" ", flush=True)
    yield
    print(f"{time.monotonic() - begin:.1f} s", flush=True)


def check(condition: bool, what: str) -> None:
    """Fails with a sentence."""
    if not condition:
        raise AssertionError(what)
