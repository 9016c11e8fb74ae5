"""The files in a session's folder: all that a restarted scheduler knows of it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import ValidationError
from typing_extensions import override

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.sessions import EndReason, SessionWanted
from slipway_scheduler.models import Termination


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process id can be used again; together with its start it is unique since boot."""

    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """The process, if it is this very one and runs; a zombie does not run."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 0.01
            runs = process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same and runs else None

    @override
    def __str__(self) -> str:
        return f"{self.pid}@{self.started:.2f}"


class Records:
    """Written whole or not at all: a reader never sees half a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = folder / "token"
        self.log = folder / "log"
        self.ready_path = folder / "ready.json"
        self.termination_path = folder / "termination.json"
        self.unit_path = folder / "unit.json"
        self._wanted = folder / "wanted.json"
        self._stopping = folder / "stopping.json"

    def prepare(self, wanted: SessionWanted, token: str) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.token, token.encode(), mode=0o600)
        write_whole(self._wanted, wanted.model_dump_json().encode())

    def wanted(self) -> SessionWanted | None:
        """None if the folder was not finished before its maker died."""
        try:
            return SessionWanted.model_validate_json(self._wanted.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def identity(self) -> ProcessIdentity | None:
        found = _read(self.unit_path)
        if found is None or not {"pid", "started"} <= found.keys():
            return None
        return ProcessIdentity(int(found["pid"]), float(found["started"]))

    def address(self) -> str | None:
        found = _read(self.ready_path)
        return None if found is None else found.get("address")

    def note_stopping(self, *, reason: EndReason, message: str) -> None:
        if self.folder.exists() and not self._stopping.exists():
            note = {"reason": reason, "message": message, "since": utc_now().timestamp()}
            write_whole(self._stopping, json.dumps(note).encode())

    def stopping(self) -> dict[str, Any] | None:
        return _read(self._stopping)

    def termination(self) -> Termination | None:
        """What the runner said last; a stop of ours explains an end better than the runner can."""
        said = _read(self.termination_path)
        stopped = self.stopping()
        if said is None and stopped is None:
            return None
        peak = None if said is None else said.get("peakMemoryMib")
        source = stopped or said or {}
        try:
            reason = EndReason(str(source.get("reason")))
        except ValueError:
            reason = EndReason.APP_FAILED
        return Termination(reason, str(source.get("message", "")), peak)

    def log_tail(self, *, size: int = 2000) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - size))
                return file.read().decode(errors="replace").strip()
        except FileNotFoundError:
            return ""


def write_whole(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    """None if it is not there, or is nothing that we or a runner would write.

    An app can reach some of these files, and must not stop us looking at the others.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
