"""The README's backend: the token that its Python makes is taken by a server with its configuration."""

import os
import re
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server import Server

README = (Path(__file__).parents[2] / "README.md").read_text()
SECRET = "0123456789abcdef0123456789abcdef"


def block(kind: str) -> str:
    (text,) = re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)
    return text


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


@pytest.fixture
def configured(tmp_path: Path, secret: Path):
    """With the README's [auth]."""
    auth = re.search(r"^\[auth\]\n(.*?)^\[", block("toml"), re.DOTALL | re.MULTILINE).group(1)
    settings = [f"auth.{name}={value}" for name, value in re.findall(r'^(\w+) = "(.*?)"', auth, re.MULTILINE)]
    settings = [setting.replace("/etc/tidegate/secret", str(secret)) for setting in settings]
    assert f"auth.secret_file={secret}" in settings and "auth.algorithm=HS256" in settings
    server = Server(os.environ["TIDEGATE_BIN"], tmp_path, *settings)
    yield server
    assert server.stop() == 0, server.log.read_text()


def token(user: str, secret: Path) -> str:
    """What the README's function makes."""
    names: dict = {}
    exec(block("python").replace("/etc/tidegate/secret", str(secret)), names)
    return names["tidegate_token"](user)


async def test_the_token_is_accepted(configured, secret):
    made = token("alice", secret)
    url = f"ws://127.0.0.1:{configured.http_port}/ws"
    async with connect(f"{url}/alice/conn/{made}/laptop"):
        pass
    wrong = secret.with_name("wrong")
    wrong.write_text(SECRET[::-1])
    for path in (f"bob/conn/{made}/laptop", f"alice/conn/{token('alice', wrong)}/laptop", "alice/conn/laptop"):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{url}/{path}")
        assert refused.value.response.status_code in (401, 404), path
