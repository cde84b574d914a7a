"""One server's life: up, stop, start, kill, down, each under the lock of its home and each with a limit."""

import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time

import ports
import process
from files import locked
from folder import Home
from service import Failed, NotReady, Service, server_environment, tail


def prepare(service: Service, home: Home) -> None:
    """Gives it ports and a password, so that others can be told of them before it runs."""
    home.path.mkdir(mode=0o711, exist_ok=True)
    with _held(home):
        _prepare(service, home)


def up(service: Service, home: Home, cancelled: threading.Event) -> bool:
    """Makes the data if there is none, and starts it; False if it ran already."""
    home.path.mkdir(mode=0o711, exist_ok=True)
    with _held(home):
        if _running(home):
            return False
        _prepare(service, home)
        _make_data(service, home)
        _start(service, home, cancelled)
        return True


def start(service: Service, home: Home) -> bool:
    """Starts a stopped or killed server, on its port and its data; False if it runs."""
    with _held(home):
        if _running(home):
            return False
        _start(service, home, threading.Event())
        return True


def stop(service: Service, home: Home) -> bool:
    """Ends it in order; False if it did not run. One that does not end by its limit is killed, which is said."""
    with _held(home):
        return _stop(service, home)


def kill(service: Service, home: Home) -> bool:
    """Ends it and what it had started with SIGKILL; False if it did not run."""
    with _held(home):
        who = _running(home)
        if who and not process.kill_tree(who, _KILL_LIMIT_S):
            raise Failed(f"{service.name}: process {who.pid} still runs {_KILL_LIMIT_S} s after SIGKILL")
        home.remember_process(None)
        return bool(who)


def down(service: Service, home: Home) -> None:
    """Stops it, and marks it as not up; its ports are still kept for the folder."""
    if not home.path.exists():
        return
    with _held(home):
        _stop(service, home)
        home.remember(up=False)


def condition(home: Home) -> str:
    """For `status`: running, died (it ended, and not by us) or stopped."""
    who = home.process()
    return "stopped" if who is None else "running" if process.alive(who) else "died"


def _held(home: Home):
    return locked(home.lock, limit_s=_LOCK_LIMIT_S)


def _running(home: Home) -> process.Identity | None:
    who = home.process()
    return who if who and process.alive(who) else None


def _prepare(service: Service, home: Home) -> None:
    state = home.state()
    if not state.get("up"):
        wanted = state.get("ports", {})
        chosen = {which: ports.reserve(home.folder, wanted.get(which)) for which in service.port_names}
        home.remember(up=True, ports=chosen, password=state.get("password") or secrets.token_hex(12), process=None)


def _make_data(service: Service, home: Home) -> None:
    if home.data.exists():
        return
    # Under another name until it is complete, so that an interrupted beginning is never taken for data.
    fresh = home.path / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    home.tmp.mkdir(mode=0o700, exist_ok=True)
    fresh.mkdir(mode=0o700)
    if user := service.runs_as():
        for part in (home.tmp, fresh):
            shutil.chown(part, user, process.primary_group(user))
        _check_way(service, home, user)
    service.create(home, fresh)
    fresh.rename(home.data)


def _check_way(service: Service, home: Home, user: str) -> None:
    account = {"user": user, "group": process.primary_group(user), "extra_groups": []}
    if subprocess.run(["test", "-x", home.path], timeout=30, **account).returncode:
        raise Failed(
            f"{service.name}: the account {user}, which it runs as, cannot get into {home.path}: "
            "name a folder elsewhere, or allow passage (chmod o+x) on the folders above it"
        )


def _start(service: Service, home: Home, cancelled: threading.Event) -> None:
    service.clear(home)
    begin = home.log.stat().st_size if home.log.exists() else 0
    who = process.spawn(service.command(home), home.path, server_environment(home), home.log, service.runs_as())
    home.remember_process(who)
    try:
        if problem := _wait_until_ready(service, home, who, cancelled):
            raise Failed(f"{service.name}: {problem}{tail(home.log, begin)}")
    except BaseException:
        process.kill_tree(who, _KILL_LIMIT_S)
        home.remember_process(None)
        raise


def _wait_until_ready(service: Service, home: Home, who: process.Identity, cancelled: threading.Event) -> str | None:
    """None when it answers, else why it will not."""
    deadline = time.monotonic() + service.start_limit_s
    while True:
        try:
            return service.ask(home)
        except NotReady as error:
            reason = error
        if cancelled.is_set():
            return "its start was broken off"
        if not process.alive(who):
            return "it ended while it started"
        if time.monotonic() > deadline:
            return f"it was not ready after {service.start_limit_s} s: {reason}"
        time.sleep(_ASK_EVERY_S)


def _stop(service: Service, home: Home) -> bool:
    who = _running(home)
    if who:
        children = process.descendants(who)
        process.send(who, service.stop_signal)
        # One that a test has halted would never see the signal.
        process.send(who, signal.SIGCONT)
        if not process.wait_gone(who, service.stop_limit_s):
            print(f"services: {service.name} did not stop within {service.stop_limit_s} s; killing it", file=sys.stderr)
        for one in [who, *children]:
            if not process.wait_gone(one, 0) and not process.kill_tree(one, _KILL_LIMIT_S):
                raise Failed(f"{service.name}: process {one.pid} still runs {_KILL_LIMIT_S} s after SIGKILL")
    home.remember_process(None)
    return bool(who)


_ASK_EVERY_S = 0.1
_KILL_LIMIT_S = 20
_LOCK_LIMIT_S = 300
