"""A server of the tests' own: its own data folder, ports that the system picks, ended by its own process."""

import json
import os
import queue
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

from transport import LIMIT_S


class Server:
    """A running `tidegate serve` in development mode."""

    def __init__(self, binary: str, folder: Path, *settings: str):
        data = folder / "data"
        listen = [f"listen.{name}=127.0.0.1:0" for name in ("quic", "http", "admin", "grpc")]
        options = [f"--set={setting}" for setting in (*listen, *settings)]
        self.binary, self.data = binary, data
        # The server takes every TIDEGATE_ variable for a setting; these tests want its defaults.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data", data, *options],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.certificate = data / "dev-cert.pem"
        try:
            said = self._read_addresses()
        except BaseException:
            self.process.kill()
            raise
        self.http_port = int(said["demo"].rpartition(":")[2])
        self.quic_port = int(said["quic"].rpartition(":")[2])
        self.grpc = said["grpc"]

    def token(self, user: str) -> str:
        """A development token (PROTOCOL section 14)."""
        query = urllib.parse.urlencode({"user": user})
        url = f"http://127.0.0.1:{self.http_port}/demo/token?{query}"
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return json.load(answer)["token"]

    def short_token(self, user: str, ttl: str) -> str:
        """A token that is good for that long, by the program."""
        command = [self.binary, "token", "--data", self.data, "--user", user, "--ttl", ttl]
        made = subprocess.run(
            command, env=self.environment, capture_output=True, check=True, text=True, timeout=LIMIT_S
        )
        return made.stdout.strip()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def kill(self) -> None:
        """SIGKILL, which leaves everything as it is."""
        self.process.kill()
        self.process.wait(LIMIT_S)

    def _read_addresses(self) -> dict[str, str]:
        """What the server prints when it is ready: one `name value` a line, the data folder after all addresses."""
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            # To the end, so that the server never waits for us.
            for line in self.process.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        said: dict[str, str] = {}
        while (line := lines.get(timeout=LIMIT_S)) is not None:
            name, _, value = line.strip().partition(" ")
            said[name] = value.strip()
            if line.strip().startswith("data"):
                return said
        raise RuntimeError(f"the server ended before it was ready: {self.log.read_text()}")
