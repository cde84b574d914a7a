"""Installs what is missing, from Debian's packages and by Maven; no package starts a server of its own meanwhile."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import kafka_jars
from files import locked
from service import Failed, Service, program


def provide(services: list[Service]) -> None:
    """All programs of these servers are there afterwards, or Failed says which are not."""
    if missing := _missing(services):
        if os.geteuid() or not program("apt-get"):
            raise Failed(_advice(missing))
        with locked(Path("/var/lock/tidegate-services-install"), limit_s=_LIMIT_S):
            # Somebody else may have installed it while we waited.
            if missing := _missing(services):
                _install(sorted(set(missing.values())))
        if missing := _missing(services):
            raise Failed(f"the packages are installed, yet there is no {', '.join(missing)}")
    if any(service.name.startswith("kafka") for service in services):
        kafka_jars.fetch()


def _missing(services: list[Service]) -> dict[str, str]:
    return {name: package for service in services for name, package in service.missing().items()}


def _advice(missing: dict[str, str]) -> str:
    packages = " ".join(sorted(set(missing.values())))
    return f"there is no {', '.join(missing)}; install it (Debian, as root: apt-get install {packages}), or run this as root once"


def _install(packages: list[str]) -> None:
    print(f"services: installing {' '.join(packages)}", file=sys.stderr)
    options = ["-qq", "-o", "DPkg::Lock::Timeout=300"]
    with _no_starting():
        _apt(["apt-get", *options, "update"])
        _apt(["apt-get", *options, "install", "-y", "--no-install-recommends", *packages])


def _apt(command: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)} did not end within {_LIMIT_S} s") from None
    if done.returncode:
        said = "\n".join(f"  | {line}" for line in (done.stdout + done.stderr).splitlines()[-25:])
        raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{said}")


@contextmanager
def _no_starting():
    """Debian asks this file whether a package may start its server; 101 means no."""
    if _SET_ASIDE.exists():
        # An installation of ours was killed.
        _SET_ASIDE.replace(_POLICY)
    if _denies():
        yield
        return
    if _POLICY.exists() and not _ours():
        _POLICY.rename(_SET_ASIDE)
    try:
        _POLICY.write_text("#!/bin/sh\n# By tidegate's scripts/services, for the time of an installation.\nexit 101\n")
        _POLICY.chmod(0o755)
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
        if _SET_ASIDE.exists():
            _SET_ASIDE.rename(_POLICY)


def _denies() -> bool:
    if not os.access(_POLICY, os.X_OK):
        return False
    # One that a killed installation of ours has left counts as none, so that it is removed in the end.
    return not _ours() and subprocess.run([_POLICY, "mariadb", "start"], capture_output=True, timeout=30).returncode == 101


def _ours() -> bool:
    return "tidegate" in _POLICY.read_text(errors="replace")


_LIMIT_S = 900
_POLICY = Path("/usr/sbin/policy-rc.d")
_SET_ASIDE = Path("/usr/sbin/policy-rc.d.before-tidegate")
