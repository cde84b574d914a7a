"""A certificate for 127.0.0.1 that is its own authority, for servers that are spoken to over TLS."""

import subprocess
from pathlib import Path

from service import Failed, clean_environment, program


def missing() -> dict[str, str]:
    """What it takes to make one."""
    return {} if program("openssl") else {"openssl": "openssl"}


def make(folder: Path) -> None:
    """Writes `cert.pem` and `key.pem`, good for ten years."""
    command = [program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "3650",
               "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=tidegate test server",
               "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, env=clean_environment())
    if done.returncode:
        raise Failed(f"openssl ended with {done.returncode}: {done.stderr.strip()}")
