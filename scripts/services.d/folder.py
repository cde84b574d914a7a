"""The folder of one instance: its servers' homes, what is remembered of them, and which folder a command means."""

import json
import os
import shutil
import tempfile
import zlib
from dataclasses import asdict
from pathlib import Path

import ports
from files import write_whole
from process import Identity

# In the environment of a command started by `run`: its folder.
VARIABLE = "TIDEGATE_TEST_SERVICES"


class Home:
    """One server's part of the folder: `data`, `tmp`, the log, and `state.json`."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self.name = name
        self.path = folder / name
        self.data = self.path / "data"
        self.tmp = self.path / "tmp"
        self.log = self.path / "server.log"
        self.lock = self.path / "lock"

    def state(self) -> dict:
        """What is remembered: `ports`, `password`, `process` and whether it is `up`; empty for a server never started."""
        try:
            return json.loads((self.path / "state.json").read_text())
        except FileNotFoundError:
            return {}

    def remember(self, **changes) -> None:
        """Changes some of it."""
        write_whole(self.path / "state.json", json.dumps(self.state() | changes, indent=1))

    def process(self) -> Identity | None:
        """The process last started and not ended by us."""
        kept = self.state().get("process")
        return Identity(**kept) if kept else None

    def remember_process(self, who: Identity | None) -> None:
        """Sets it, or forgets it."""
        self.remember(process=asdict(who) if who else None)

    def port(self, which: str = "client") -> int:
        """One of its ports."""
        return self.state()["ports"][which]

    def password(self) -> str:
        """The password of its user `tidegate`."""
        return self.state()["password"]


class Folder:
    """The folder as a whole."""

    def __init__(self, path: Path):
        self.path = path.absolute()
        self.marker = self.path / ports.MARKER

    def make(self, temporary: bool) -> None:
        """Makes it, or takes an empty folder or one of ours; refuses any other."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.marker.exists():
            return
        if any(self.path.iterdir()):
            raise FileExistsError(f"{self.path} holds other things: name an empty or a new folder")
        # Servers under accounts of their own must come through; what is secret is 0600 or in folders that are 0700.
        self.path.chmod(0o711)
        write_whole(self.marker, json.dumps({"temporary": temporary}))

    def exists(self) -> bool:
        """Whether it is one of ours."""
        return self.marker.exists()

    def temporary(self) -> bool:
        """Whether `down` removes it."""
        return json.loads(self.marker.read_text())["temporary"]

    def home(self, name: str) -> Home:
        """One server's part."""
        return Home(self.path, name)

    def up(self, names: list[str]) -> list[str]:
        """Those of the names that were brought up and not yet taken down."""
        return [name for name in names if self.home(name).state().get("up")]

    def remove(self, names: list[str]) -> None:
        """Removes what we made in it, and itself if nothing else is there."""
        for name in names:
            if self.home(name).path.exists():
                shutil.rmtree(self.home(name).path)
        self.marker.unlink(missing_ok=True)
        if self.path.exists() and not any(self.path.iterdir()):
            self.path.rmdir()


def temporary_folder(kind: str = "services") -> Folder:
    """A new one."""
    folder = Folder(Path(tempfile.mkdtemp(prefix=f"tidegate-{kind}-")))
    folder.make(temporary=True)
    return folder


def meant(directory: str | None) -> Folder | None:
    """The folder of `--dir`, else of the `run` we are in, else the one last brought up from this checkout; None if there is none."""
    if directory or (directory := os.environ.get(VARIABLE)):
        return Folder(Path(directory))
    return remembered()


def remembered(kind: str = "services") -> Folder | None:
    """The one last brought up from this checkout, if it is still there."""
    try:
        folder = Folder(Path(_memory(kind).read_text()))
    except FileNotFoundError:
        return None
    return folder if folder.exists() else None


def remember(folder: Folder, kind: str = "services") -> None:
    """Makes it the one that commands without `--dir` mean."""
    write_whole(_memory(kind), str(folder.path))


def forget(folder: Folder, kind: str = "services") -> None:
    """Undoes it."""
    file = _memory(kind)
    if file.exists() and file.read_text() == str(folder.path):
        file.unlink()


def _memory(kind: str) -> Path:
    checkout = Path(__file__).resolve().parents[2]
    return ports.registry_folder() / f"{kind}-{zlib.crc32(bytes(checkout)):08x}"
