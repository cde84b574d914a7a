"""Processes by identity: a pid counts only with its start time and boot, so that a recycled pid is never signalled. Linux only."""

import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """One process of one boot of one machine."""

    pid: int
    started: int
    boot: str


def identity(pid: int) -> Identity | None:
    """Who has this pid now; None if nobody."""
    fields = _stat(pid)
    return Identity(pid, int(fields[19]), _boot()) if fields else None


def alive(who: Identity) -> bool:
    """Whether that very process runs. A zombie does not: it only waits to be reaped."""
    fields = _stat(who.pid)
    return bool(fields) and int(fields[19]) == who.started and fields[0] not in "ZX" and _boot() == who.boot


def descendants(who: Identity) -> list[Identity]:
    """Its children, their children and so on."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, left = [], [who.pid] if alive(who) else []
    while left:
        for child in children.get(left.pop(), []):
            left.append(child)
            if one := identity(child):
                found.append(one)
    return found


def send(who: Identity, number: signal.Signals) -> bool:
    """Signals that very process; False if it is gone. The pidfd is opened before the check, so no other process can slip in between."""
    try:
        pidfd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(who):
            return False
        signal.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def wait_gone(who: Identity, limit_s: float) -> bool:
    """Waits until that process has ended; False if it still runs at the limit."""
    try:
        pidfd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return True
    try:
        deadline = time.monotonic() + limit_s
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        while alive(who):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(left * 1000)
        return True
    finally:
        os.close(pidfd)


def kill_tree(who: Identity, limit_s: float) -> bool:
    """SIGKILL to the process, then to what it had started; False if one still runs at the limit."""
    tree = [who, *descendants(who)]
    for one in tree:
        send(one, signal.SIGKILL)
    return all([wait_gone(one, limit_s) for one in tree])


def spawn(command: list[str], folder: Path, environment: dict[str, str], log: Path, user: str | None) -> Identity:
    """Starts a server in its own session, its output appended to `log`; it outlives this program."""
    account = {"user": user, "group": primary_group(user), "extra_groups": []} if user else {}
    with open(log, "ab") as output:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, umask=0o077, **account,
        )
    # A child that has ended already is a zombie of ours and still has its entry.
    started = identity(child.pid)
    assert started is not None, "an unreaped child has an entry in /proc"
    return started


def primary_group(user: str) -> int:
    """The group of an account."""
    import pwd

    return pwd.getpwnam(user).pw_gid


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name, in brackets, may itself hold brackets and blanks.
    return text.rpartition(")")[2].split()


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
