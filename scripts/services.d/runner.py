"""`run`: a command with servers of its own, which are taken down afterwards however it ends."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import process
from folder import Folder


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP came; no ordinary handler of errors takes it."""

    def __init__(self, number: int):
        self.number = signal.Signals(number)


def listen_to_signals() -> None:
    """From here on, a signal that asks us to end raises Interrupted in the main thread."""

    def interrupt(number, _frame):
        raise Interrupted(number)

    for number in _SIGNALS:
        signal.signal(number, interrupt)


@contextmanager
def guarded(folder: Folder):
    """Takes the folder down at the end. A program of its own does it, so that it is done even if we are killed: it sees our pipe close."""
    guard = subprocess.Popen(
        [sys.executable, sys.argv[0], "guard", "--dir", str(folder.path)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        guard.stdin.close()
        guard.wait(timeout=_GUARD_LIMIT_S)


def wait_for_end() -> None:
    """The guard's part: returns when the program that started it has gone."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()


def command(words: list[str], variables: dict[str, str]) -> int:
    """Runs it to its end; its exit code, as a shell gives it. A signal to us ends it and all it has started."""
    # It gets the signals in their usual meaning, and stays in our group, so that a terminal's Ctrl-C reaches it too.
    try:
        child = subprocess.Popen(words, env=os.environ | variables)
    except OSError as error:
        print(f"services: {words[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    who = process.identity(child.pid)
    try:
        code = child.wait()
    except Interrupted as interrupt:
        _end(who, interrupt.number)
        child.wait()
        raise
    return code if code >= 0 else 128 - code


def _end(who: process.Identity, number: signal.Signals) -> None:
    tree = [who, *process.descendants(who)]
    if number == signal.SIGINT:
        # The terminal has told them all; if it was not a terminal, or they do not listen, they are told to end.
        process.wait_gone(who, _GRACE_S)
        number = signal.SIGTERM
    for one in tree:
        process.send(one, number)
    deadline = time.monotonic() + _GRACE_S
    for one in tree:
        if not process.wait_gone(one, max(deadline - time.monotonic(), 0)):
            process.kill_tree(one, _GRACE_S)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_S = 10
_GUARD_LIMIT_S = 300
