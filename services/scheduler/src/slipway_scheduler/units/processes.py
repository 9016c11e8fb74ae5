"""Sessions as processes of this machine: for one machine, and for trying Slipway out.

Each has its own process group, folder, limits and log, and an environment that holds nothing of
ours. They outlive the scheduler: whoever starts next finds them by the records in their folders.
What a process adapter cannot give is a wall between hostile apps; pods are for that.
"""

import asyncio
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psutil
import structlog
from typing_extensions import override

from slipway_common.contracts.sessions import EndReason, SessionKind, SessionWanted
from slipway_common.errors import PermanentError
from slipway_common.failpoints import failpoint
from slipway_scheduler.models import Termination, Unit, UnitPhase
from slipway_scheduler.units.base import Units
from slipway_scheduler.units.records import ProcessIdentity, Records

logger = structlog.get_logger(__name__)

MEBI = 1024 * 1024
OPEN_FILES = 4096
RUNNER = (sys.executable, "-m", "slipway_runner")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")


class ProcessUnits(Units):
    def __init__(
        self,
        folder: Path,
        *,
        gateway_url: str,
        token_for: Callable[[SessionWanted], str],
        environment: Mapping[str, str],
        lifeline: Path | None,
        task_grace: timedelta = timedelta(seconds=30),
        command: Sequence[str] = RUNNER,
    ) -> None:
        # Absolute and without links, as the system tells where a process works.
        self._folder = folder.resolve()
        self._command = command
        self._gateway_url = gateway_url
        self._token_for = token_for
        self._environment = environment
        self._lifeline = lifeline
        self._task_grace = task_grace
        self._children: dict[UUID, asyncio.subprocess.Process] = {}
        self._seen: Mapping[UUID, Unit] = {}
        folder.mkdir(parents=True, exist_ok=True)

    @override
    async def refresh(self) -> None:
        self._seen = self.look()

    @override
    def find(self, session_id: UUID) -> Unit | None:
        return self._seen.get(session_id)

    @override
    def ids(self) -> Collection[UUID]:
        return self._seen.keys()

    def look(self) -> Mapping[UUID, Unit]:
        """All units that are there now, asked of the system itself and not of any memory."""
        units: dict[UUID, Unit] = {}
        for folder in self._folder.iterdir():
            try:
                session_id = UUID(folder.name)
            except ValueError:
                continue
            unit = self._observe(session_id, Records(folder))
            if unit is not None:
                units[session_id] = unit
        return units

    def _observe(self, session_id: UUID, records: Records) -> Unit | None:
        wanted = records.wanted()
        if wanted is None:
            return None
        identity = records.identity() or self._unrecorded(session_id, records)
        if identity is None:
            return self._never_began(session_id, records, wanted)
        stopping = records.stopping()
        address = records.address()
        if identity.process() is None:
            phase = UnitPhase.GONE
        elif stopping is not None:
            phase = UnitPhase.STOPPING
        else:
            phase = UnitPhase.STARTING if address is None else UnitPhase.READY
        return Unit(
            session_id=session_id,
            account_id=wanted.account_id,
            phase=phase,
            identity=str(identity),
            address=address,
            stopping_since=None
            if stopping is None
            else datetime.fromtimestamp(stopping["since"], tz=UTC),
            termination=records.termination() if phase is UnitPhase.GONE else None,
        )

    def _unrecorded(self, session_id: UUID, records: Records) -> ProcessIdentity | None:
        """A runner that was started and has not written its record yet, also by one before us."""
        child = self._children.get(session_id)
        if child is not None:
            return None if child.returncode is not None else _identity_of(child.pid)
        for process in psutil.process_iter(["cwd", "create_time"]):
            if process.info["cwd"] == str(records.folder):
                return ProcessIdentity(process.pid, process.info["create_time"])
        return None

    def _never_began(
        self, session_id: UUID, records: Records, wanted: SessionWanted
    ) -> Unit | None:
        """None lets the unit be created again: a scheduler died before it could."""
        child = self._children.get(session_id)
        if child is None or child.returncode is None:
            return None
        return Unit(
            session_id=session_id,
            account_id=wanted.account_id,
            phase=UnitPhase.GONE,
            identity=f"{child.pid}",
            termination=Termination(EndReason.APP_FAILED, records.log_tail(size=500)),
        )

    @override
    async def create(self, wanted: SessionWanted) -> None:
        if wanted.kind is SessionKind.EXTERNAL:
            raise PermanentError("a container needs a cluster, and sessions are processes here")
        records = Records(self._folder / str(wanted.session_id))
        if self._observe(wanted.session_id, records) is not None:
            return  # it is there already
        records.prepare(wanted, self._token_for(wanted))
        failpoint("scheduler.before-start")
        with records.log.open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=records.folder,
                env=self._runner_environment(wanted, records),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        failpoint("scheduler.after-start")
        self._children[wanted.session_id] = child
        _limit(child.pid, wanted)
        logger.info("session started", session_id=str(wanted.session_id), pid=child.pid)

    def _runner_environment(self, wanted: SessionWanted, records: Records) -> dict[str, str]:
        environment = {
            name: self._environment[name] for name in PASSED_ON if name in self._environment
        }
        prefix = "SLIPWAY_RUNNER_"
        environment |= {
            prefix + "SESSION_ID": str(wanted.session_id),
            prefix + "GATEWAY_URL": self._gateway_url,
            prefix + "TOKEN_FILE": str(records.token),
            prefix + "FOLDER": str(records.folder),
            prefix + "READY_FILE": str(records.ready_path),
            prefix + "TERMINATION_FILE": str(records.termination_path),
            prefix + "UNIT_FILE": str(records.unit_path),
            prefix + "IDLE_SECONDS": str(wanted.idle_seconds),
            prefix + "TASK_GRACE_SECONDS": str(self._task_grace.total_seconds()),
            prefix + "LISTEN_HOST": "127.0.0.1",
            prefix + "LISTEN_PORT": "0",
        }
        if self._lifeline is not None:
            environment[prefix + "LIFELINE"] = str(self._lifeline)
        return environment

    @override
    async def activate(self, wanted: SessionWanted) -> None:
        """No process waits for a session: each is started for its own."""

    @override
    async def stop(self, session_id: UUID, *, reason: EndReason, message: str) -> None:
        records = Records(self._folder / str(session_id))
        records.note_stopping(reason=reason, message=message)
        self._signal(session_id, records, signal.SIGTERM, group=False)

    @override
    async def kill(self, session_id: UUID) -> None:
        records = Records(self._folder / str(session_id))
        self._signal(session_id, records, signal.SIGKILL, group=True)

    def _signal(
        self, session_id: UUID, records: Records, number: signal.Signals, *, group: bool
    ) -> None:
        identity = records.identity() or self._unrecorded(session_id, records)
        process = None if identity is None else identity.process()
        if process is None:
            return
        try:
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return  # gone already

    @override
    async def forget(self, session_id: UUID) -> None:
        child = self._children.pop(session_id, None)
        if child is not None:
            await child.wait()
        await asyncio.to_thread(_remove, self._folder / str(session_id))


def _remove(folder: Path) -> None:
    """End what the runner started and left behind, and delete what there is."""
    for process in psutil.process_iter(["cwd"]):
        place = process.info["cwd"]
        if place is not None and Path(place).is_relative_to(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _identity_of(pid: int) -> ProcessIdentity | None:
    try:
        return ProcessIdentity(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def _limit(pid: int, wanted: SessionWanted) -> None:
    """Bound what the session may use; what it starts inherits it."""
    memory = wanted.resources.memory_mib * MEBI
    try:
        for kind, wanted_limit in (
            (resource.RLIMIT_DATA, memory),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_CORE, 0),
        ):
            _, allowed = resource.prlimit(pid, kind)
            # Only root may raise what it was given.
            limit = (
                wanted_limit if allowed == resource.RLIM_INFINITY else min(wanted_limit, allowed)
            )
            resource.prlimit(pid, kind, (limit, limit))
    except ProcessLookupError:
        return  # it has ended; the next look sees why
