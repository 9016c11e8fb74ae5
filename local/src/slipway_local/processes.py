"""Child processes that end with this one, and are never mistaken for somebody else's.

On Linux the kernel kills a child when its parent dies. What that cannot reach is
found again through records: process id, boot and start time, so that a number
which has passed on to a stranger never gets the stranger killed.
"""

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import psutil

from slipway_local.errors import LocalError
from slipway_local.files import write_atomically

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02
KILL_SECONDS = 10.0
RECORD_SUFFIX = ".pid"
ROTATE_BYTES = 32 * 1024 * 1024

# Loaded here because nothing may be loaded between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True)

# Children that a Child object waits for. The reaper leaves these alone: an exit
# status can be read only once.
_awaited: set[int] = set()


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for all time: a process id alone is reused."""

    pid: int
    started: str
    """Boot and start time, as the kernel tells them; only compared, never parsed."""


def identity_of(pid: int) -> Identity | None:
    """Identify a running process; None if there is none, or only its exit status is left."""
    if LINUX:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The second field is the program's name in brackets and may hold anything.
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else Identity(pid, f"{boot}/{fields[19]}")
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, f"{process.create_time():.6f}")
    except psutil.NoSuchProcess:
        return None


def is_alive(identity: Identity) -> bool:
    return identity_of(identity.pid) == identity


def descendants(pid: int) -> list[Identity]:
    """All processes below this one that are running now."""
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [found for process in below if (found := identity_of(process.pid)) is not None]


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with; empty if it is gone, or somebody else's."""
    try:
        return psutil.Process(pid).environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}


def working_in(folder: Path) -> list[int]:
    """Processes whose current folder this is, as far as we may know it."""
    wanted = str(folder.resolve())
    return [
        process.pid
        for process in psutil.process_iter(["cwd"])
        if process.info["cwd"] == wanted and identity_of(process.pid) is not None
    ]


def send(identity: Identity, signal_number: signal.Signals) -> None:
    """Signal a process, unless it is gone."""
    if is_alive(identity):
        try:
            os.kill(identity.pid, signal_number)
        except ProcessLookupError:
            return


async def wait_until(
    condition: Callable[[], bool], seconds: float, *, poll: float = POLL_SECONDS
) -> bool:
    """Wait for the condition; False if it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(poll)
    return True


async def wait_gone(identities: Iterable[Identity], seconds: float = KILL_SECONDS) -> bool:
    """Wait until none of the processes runs; False if one still does."""
    wanted = list(identities)
    return await wait_until(lambda: not any(map(is_alive, wanted)), seconds)


def write_record(path: Path, identity: Identity) -> None:
    write_atomically(path, json.dumps(asdict(identity)))


def read_record(path: Path) -> Identity | None:
    """Return the recorded process if it still runs; None if it is gone or never was."""
    try:
        record = json.loads(path.read_text())
        identity = Identity(pid=int(record["pid"]), started=str(record["started"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return identity if is_alive(identity) else None


async def remove_leftovers(folder: Path) -> list[str]:
    """Kill what an earlier stack left running, with all below it; return the names."""
    removed = []
    for path in _records(folder):
        identity = read_record(path)
        if identity is not None:
            family = [identity, *descendants(identity.pid)]
            for member in family:
                send(member, signal.SIGKILL)
            if not await wait_gone(family):
                raise LocalError(
                    f"process {identity.pid} ({path.stem}) of an earlier stack does not end; "
                    f"end it with: kill -9 {identity.pid}"
                )
            removed.append(path.stem)
        path.unlink(missing_ok=True)
    return removed


def _records(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{RECORD_SUFFIX}"))


def become_subreaper() -> None:
    """Adopt the orphans of our children, so that they can be found, waited for and ended."""
    if LINUX and _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap_adopted() -> None:
    """Collect the exit status of all adopted orphans that have ended.

    Only for a process that starts nothing but parts: a child that other code
    waits for would lose its status.
    """
    ended = [child.pid for child in psutil.Process().children() if identity_of(child.pid) is None]
    _reap(pid for pid in ended if pid not in _awaited)


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue  # not ours: the system adopted it


async def end_adopted(grace: float) -> None:
    """Give adopted orphans a moment to end by themselves, then kill those that do not."""

    def adopted() -> list[Identity]:
        reap_adopted()
        found = descendants(os.getpid())
        return [identity for identity in found if identity.pid not in _awaited]

    if not await wait_until(lambda: not adopted(), grace):
        for identity in adopted():
            send(identity, signal.SIGKILL)
        await wait_until(lambda: not adopted(), KILL_SECONDS)


class Child:
    """One process that was started here, in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], *, record: Path | None) -> None:
        self._process = process
        self._record = record
        self.pid = process.pid
        _awaited.add(process.pid)
        self.identity = identity_of(process.pid)
        if record is not None and self.identity is not None:
            write_record(record, self.identity)

    @classmethod
    def spawn(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
        user: str | None = None,
        record: Path | None = None,
        stdin: bytes | None = None,
    ) -> Self:
        """Start a program; what it prints is appended to the log.

        ``stdin`` must fit into a pipe's buffer; None gives the program no input.

        The kernel ties the child to the thread that starts it, and kills the child when that
        thread ends: call this from a thread that lives as long as the stack.
        """
        _rotate(log)
        parent = os.getpid()

        def end_with_parent() -> None:
            # Runs after the change of user, which would clear the setting.
            if LINUX:
                _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)

        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                user=user,
                group=_group_of(user),
                extra_groups=[] if user is not None else None,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - calls nothing but the kernel
            )
        child = cls(process, record=record)
        if stdin is not None and process.stdin is not None:
            try:
                process.stdin.write(stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended already; its exit status and log tell why
        return child

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while the process runs."""
        code = self._process.poll()
        if code is not None and self.pid in _awaited:
            _awaited.discard(self.pid)
            if self._record is not None:
                self._record.unlink(missing_ok=True)
        return code

    @property
    def running(self) -> bool:
        return self.returncode is None

    async def wait(self, seconds: float) -> bool:
        """Wait for the end; False if the process still runs."""
        return await wait_until(lambda: not self.running, seconds)

    async def stop(self, *, signal_number: signal.Signals, grace: float) -> None:
        """Ask the process to end, and kill it if it has not done so in time."""
        if self.running:
            os.kill(self.pid, signal_number)
            if not await self.wait(grace):
                await self.kill()

    async def kill(self, *, with_descendants: bool = False) -> None:
        """Kill the process and its group, and wait until it is gone.

        Descendants that moved to a group of their own live on unless asked for.
        """
        if not self.running:
            return
        below = descendants(self.pid) if with_descendants else []
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)
        for identity in below:
            send(identity, signal.SIGKILL)
        gone = await self.wait(KILL_SECONDS) and await wait_gone(below)
        _reap(identity.pid for identity in below)
        if not gone:
            raise LocalError(f"process {self.pid} does not end after SIGKILL")


def _group_of(user: str | None) -> int | None:
    if user is None:
        return None
    import pwd

    return pwd.getpwnam(user).pw_gid


def _rotate(log: Path) -> None:
    """Keep one older log, so that a stack that runs for weeks does not fill the disk."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > ROTATE_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
