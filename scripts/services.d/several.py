"""Several programs as one process: `several.py CONFIGURATION...` runs a Redis for each and starts again what ends by itself.

A file whose name begins with `sentinel` is a sentinel's. The end, by SIGTERM, is passed on and waited for.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path


def main(program: str, configurations: list[str]) -> None:
    """Until SIGTERM."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    servers = {configuration: start(program, configuration) for configuration in configurations}
    gone: dict[str, float] = {}
    while not ended:
        for configuration, server in servers.items():
            if server.poll() is not None:
                since = gone.setdefault(configuration, time.monotonic())
                if time.monotonic() > since + _AGAIN_AFTER_S:
                    del gone[configuration]
                    servers[configuration] = start(program, configuration)
        time.sleep(0.1)
    for server in servers.values():
        server.terminate()
    for server in servers.values():
        try:
            server.wait(timeout=_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            # One that hangs holds up nobody: what is kept here are the leftovers of tests.
            server.kill()
            server.wait()


def start(program: str, configuration: str) -> subprocess.Popen:
    """One of them."""
    sentinel = ["--sentinel"] if Path(configuration).name.startswith("sentinel") else []
    return subprocess.Popen([program, configuration, *sentinel])


# Longer than a sentinel takes to promote another in its place.
_AGAIN_AFTER_S = 15
_END_LIMIT_S = 5

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
