"""Ports for servers, kept for a folder until it gives them back, so that a stopped server finds its own port free again."""

import json
import os
import random
import socket
import tempfile
from contextlib import contextmanager
from pathlib import Path

from files import locked, write_whole

LOWEST = 15_000
MARKER = "tidegate-services.json"


def reserve(folder: Path, wanted: int | None = None) -> int:
    """A port of 127.0.0.1 that is free and no other folder's; `wanted` if it is."""
    with _registry() as kept:
        # Below the range the kernel takes ports for outgoing connections from: there, a client that calls a stopped server
        # may be given that server's port and so connect to itself.
        highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - 1
        span = range(LOWEST, highest + 1) if highest > LOWEST + 1000 else range(LOWEST, 32_768)
        candidates = [wanted] if wanted else []
        candidates += random.sample(span, 200)
        for port in candidates:
            owner = kept.get(str(port))
            own = port == wanted and owner == str(folder)
            if (owner is None or own) and bindable(port):
                kept[str(port)] = str(folder)
                return port
    raise OSError(f"no free port among 200 tried between {span.start} and {span.stop}")


def release(folder: Path) -> None:
    """Gives back all ports of a folder."""
    with _registry() as kept:
        for port in [port for port, owner in kept.items() if owner == str(folder)]:
            del kept[port]


def bindable(port: int) -> bool:
    """Whether nobody listens there, over TCP or UDP."""
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        # Old connections in TIME_WAIT do not hinder a server, so they must not hinder the probe.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def registry_folder() -> Path:
    """Where this user's instances know of each other."""
    folder = Path(tempfile.gettempdir()) / f"tidegate-services-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else: remove it, or set TMPDIR")
    return folder


@contextmanager
def _registry():
    file = registry_folder() / "ports.json"
    with locked(registry_folder() / "ports.lock", limit_s=30):
        kept = json.loads(file.read_text()) if file.exists() else {}
        # A folder removed by hand has given its ports back.
        kept = {port: owner for port, owner in kept.items() if (Path(owner) / MARKER).exists()}
        yield kept
        write_whole(file, json.dumps(kept, indent=1))
