"""The state folder: what one stack remembers, and where its things lie."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slipway_local.errors import LocalError
from slipway_local.files import PRIVATE_FOLDER, write_atomically
from slipway_local.lifeline import LONGEST_PATH
from slipway_local.postgres import others_can_enter
from slipway_local.settings import is_root

VERSION = 1
LIFELINE_NAME = "lifeline.sock"
ENTERABLE_FOLDER = 0o755
SHARED_DATA = Path("/var/lib/slipway")
"""For data that root's own folders would hide from PostgreSQL's user."""

CONTENTS = ("azurite", "for-pods", "kafka", "logs", "postgres", "run", "secrets", "work")
FILES = ("launch.lock", "lock", "pods.json", "state.json", "status.json")


@dataclass(frozen=True, slots=True)
class Remembered:
    ports: Mapping[str, int]
    run_folder: Path
    """Short enough for a Unix socket; below the system's temporary folder if need be."""

    postgres_folder: Path
    """Somewhere that PostgreSQL's user can reach."""


class State:
    """Paths below the state folder, and the file that remembers choices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def file(self) -> Path:
        return self.folder / "state.json"

    @property
    def status_file(self) -> Path:
        return self.folder / "status.json"

    @property
    def pods_file(self) -> Path:
        """What of the stack runs in pods, and where."""
        return self.folder / "pods.json"

    @property
    def for_pods(self) -> Path:
        """What is written for services that run in a cluster."""
        return self.folder / "for-pods"

    @property
    def lock_file(self) -> Path:
        return self.folder / "lock"

    @property
    def launch_lock_file(self) -> Path:
        """Held while a supervisor is being launched."""
        return self.folder / "launch.lock"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def data(self, name: str) -> Path:
        return self.folder / name

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def read(self) -> Remembered | None:
        """Return what is remembered; None before the first start."""
        try:
            found = json.loads(self.file.read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise LocalError(f"{self.file} is damaged: {error}; {_START_OVER}") from error
        return self._parse(found)

    def open(self) -> Remembered:
        """Make the folders, and make or read what is remembered."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=ENTERABLE_FOLDER)
        remembered = self.read()
        if remembered is None:
            remembered = Remembered({}, self._choose_run_folder(), self._choose_postgres_folder())
            self.write(remembered)
        if not remembered.run_folder.is_dir() and remembered.run_folder.parent != self.folder:
            # Temporary folders are swept.
            remembered = replace(remembered, run_folder=self._choose_run_folder())
            self.write(remembered)
        for folder in (self.logs, self.work, remembered.run_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        if SHARED_DATA in remembered.postgres_folder.parents:
            _remove_forgotten_data()
            remembered.postgres_folder.parent.mkdir(parents=True, exist_ok=True)
            (remembered.postgres_folder.parent / "owner").write_text(str(self.folder))
        return remembered

    def write(self, remembered: Remembered) -> None:
        content = {
            "version": VERSION,
            "ports": dict(remembered.ports),
            "run_folder": str(remembered.run_folder),
            "postgres_folder": str(remembered.postgres_folder),
        }
        write_atomically(self.file, json.dumps(content, indent=2))

    def remove(self) -> None:
        """Delete what a stack made in its folder, and nothing that lies beside it."""
        remembered = self.read()
        if remembered is None:
            return
        shutil.rmtree(remembered.run_folder, ignore_errors=True)
        shutil.rmtree(remembered.postgres_folder, ignore_errors=True)
        if SHARED_DATA in remembered.postgres_folder.parents:
            shutil.rmtree(remembered.postgres_folder.parent, ignore_errors=True)
        for name in CONTENTS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _parse(self, found: Any) -> Remembered:
        try:
            if found["version"] != VERSION:
                raise LocalError(
                    f"{self.file} was written by another version ({found['version']}); "
                    f"{_START_OVER}"
                )
            return Remembered(
                ports={str(name): int(port) for name, port in found["ports"].items()},
                run_folder=Path(found["run_folder"]),
                postgres_folder=Path(found["postgres_folder"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LocalError(f"{self.file} is damaged ({error!r}); {_START_OVER}") from error

    def _choose_run_folder(self) -> Path:
        here = self.folder / "run"
        if len(str(here / LIFELINE_NAME).encode()) <= LONGEST_PATH:
            return here
        for base in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - made private by mkdtemp
            folder = Path(tempfile.mkdtemp(prefix="slipway-", dir=base))
            if len(str(folder / LIFELINE_NAME).encode()) <= LONGEST_PATH:
                return folder
            folder.rmdir()
        raise LocalError(
            f"the state folder {self.folder} lies too deep for a Unix socket, and so does the "
            "temporary folder; choose a shorter one with SLIPWAY_STATE"
        )

    def _choose_postgres_folder(self) -> Path:
        if not is_root() or others_can_enter(self.folder):
            return self.folder / "postgres"
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        return SHARED_DATA / digest / "postgres"


_START_OVER = "start over by deleting the state folder"


def _remove_forgotten_data() -> None:
    """Delete data whose state folder was a temporary one that is gone."""
    temporary = Path(tempfile.gettempdir())
    for owner in SHARED_DATA.glob("*/owner"):
        folder = Path(owner.read_text())
        if temporary in folder.parents and not (folder / "state.json").exists():
            shutil.rmtree(owner.parent, ignore_errors=True)
