"""Kafka's Java archives, fetched once by Maven into a cache folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from files import locked
from service import Failed, program, tail

VERSION = "4.1.0"


def folder() -> Path:
    """Where they are; if the folder exists, all of them are there."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tidegate" / f"kafka-{VERSION}"


def fetch() -> None:
    """Fetches them unless they are there. Another program that does so at the same time is waited for."""
    whole = folder()
    if whole.exists():
        return
    whole.parent.mkdir(parents=True, exist_ok=True)
    with locked(whole.with_name(f"{whole.name}.lock"), limit_s=_LIMIT_S):
        if whole.exists():
            return
        print(f"services: fetching Kafka {VERSION} into {whole}", file=sys.stderr)
        part = whole.with_name(f"{whole.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _copy_dependencies(part)
        part.rename(whole)


def _copy_dependencies(part: Path) -> None:
    (part / "pom.xml").write_text(_PROJECT)
    log = part.with_suffix(".log")
    # -C: an archive whose checksum is wrong is an error.
    command = [program("mvn"), "-B", "-C", "-q", "-f", str(part / "pom.xml"), _PLUGIN,
               "-DincludeScope=runtime", f"-DoutputDirectory={part}"]
    with open(log, "wb") as output:
        try:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=_LIMIT_S).returncode
        except subprocess.TimeoutExpired:
            raise Failed(f"kafka: Maven did not end within {_LIMIT_S} s{tail(log)}") from None
    if code or not (part / f"kafka_2.13-{VERSION}.jar").exists():
        raise Failed(f"kafka: Maven could not fetch it (it ended with {code}): is the network there?{tail(log)}")


_LIMIT_S = 900
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_PROJECT = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidegate</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""
