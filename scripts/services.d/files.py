"""Files written as a whole, and locks on files, waited for with a limit."""

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path


class Busy(Exception):
    """Somebody else held the lock to the end of the limit."""


def write_whole(file: Path, text: str) -> None:
    """Replaces a file at once: a reader sees the old text or the new, also after a crash of this program."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as output:
        output.write(text)
    os.replace(fresh, file)


@contextmanager
def locked(file: Path, limit_s: float):
    """Holds the lock on a file; the kernel frees it if this program dies."""
    with open(file, "a") as lock:
        deadline = time.monotonic() + limit_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Busy(f"another program has held {file} for {limit_s:.0f} s: end it, or wait for it") from None
                time.sleep(0.05)
        yield
