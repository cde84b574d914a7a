"""`scripts/cluster selftest`: a cluster brought up, messages between its gateways, a process killed and started; then nothing is left."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import process
from folder import Folder
from tidegate import Cluster


def run(script: Path) -> int:
    """All of it; 0, or an exception that says what is wrong."""
    with tempfile.TemporaryDirectory(prefix="tidegate-selftest-") as base:
        Path(base).chmod(0o711)
        bench = Bench(script, Path(base) / "a cluster")
        try:
            bench.comes_up()
            bench.gateways_reach_each_other()
            bench.survives()
            bench.goes_down()
        finally:
            bench.call("down", "--wipe", expect=None)
    print("cluster selftest: all passed")
    return 0


class Bench:
    """The script under test and its cluster."""

    def __init__(self, script: Path, folder: Path):
        self.script = script
        self.folder = Folder(folder)
        self.cluster = Cluster(self.folder)

    def call(self, *words: str, expect: int | None = 0) -> str:
        """What a command prints, on either output."""
        done = subprocess.run([sys.executable, self.script, *words, "--dir", str(self.folder.path)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
        check(expect in (None, done.returncode), f"{' '.join(words)} ended with {done.returncode}, not {expect}:\n{done.stdout}")
        return done.stdout

    def comes_up(self) -> None:
        """Everything runs, and a second `up` changes nothing."""
        self.call("status", expect=1)
        said = self.call("up")
        before = self.processes()
        check(len(before) == 8 and all(process.alive(who) for who in before.values()), said)
        self.call("up")
        check(self.processes() == before, "a second `up` has started something again")
        check("TIDEGATE_TEST_GATEWAYS=127.0.0.1:" in self.call("env"), "`env` names the gateways")

    def gateways_reach_each_other(self) -> None:
        """From each gateway to a listener on the next one."""
        gateways = [gateway.file(self.folder.home(gateway.name)) for gateway in self.cluster.gateways()]
        for number, sender in enumerate(gateways):
            self.message(f"user-{number}", sender, gateways[(number + 1) % len(gateways)], f"from {number}")

    def survives(self) -> None:
        """What is killed is seen to be gone, is not taken for another, and comes back where it was."""
        before = self.processes()
        addresses = [line for line in self.call("status").splitlines() if line.startswith("gateway-2")]
        self.call("kill", "gateway-2")
        self.call("stop", "pipeline-1")
        status = self.call("status", expect=1)
        check(status.count("stopped") == 2 and status.count("running") == 6, status)
        self.call("start", "gateway-2")
        self.call("start", "pipeline-1")
        again = [line for line in self.call("status").splitlines() if line.startswith("gateway-2")]
        check([line.split()[3:] for line in again] == [line.split()[3:] for line in addresses], f"{addresses} became {again}")
        after = self.processes()
        changed = {name for name in before if before[name] != after[name]}
        check(changed == {"gateway-2", "pipeline-1"}, f"{changed} are new")
        one, two = (gateway.file(self.folder.home(gateway.name)) for gateway in self.cluster.gateways()[:2])
        self.message("late", one, two, "after the kill")

    def goes_down(self) -> None:
        """No process is left; the data is, and comes up again."""
        before = self.processes()
        self.call("down")
        check(not any(process.alive(who) for who in before.values()), "a process is left")
        check((self.folder.home("postgres").data).exists(), "the data of a named folder stays")

    def message(self, user: str, sender: Path, listener: Path, text: str) -> None:
        """A message to a user, once it is heard by who listens at another gateway."""
        listening = subprocess.Popen([self.cluster.program(), "tail", "--as", user, "--config", str(listener)],
                                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment())
        try:
            self.cluster.ask_program("send", "--as", "alice", "--to", user, "--config", str(sender), text)
            os.set_blocking(listening.stdout.fileno(), False)
            heard, deadline = b"", time.monotonic() + 60
            while text.encode() not in heard:
                check(time.monotonic() < deadline, f"{user} has not heard {text!r} but {heard!r}")
                # None: nothing has come.
                heard += listening.stdout.read() or b""
                time.sleep(0.05)
        finally:
            listening.kill()
            listening.wait()

    def processes(self) -> dict[str, process.Identity | None]:
        """Everything that was started and not ended by the script."""
        return {name: self.folder.home(name).process() for name in self.cluster.members()}


def environment() -> dict[str, str]:
    """Without what the program would take for settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}


def check(holds: bool, words: str) -> None:
    """Fails with the words unless it holds."""
    if not holds:
        raise AssertionError(words)
