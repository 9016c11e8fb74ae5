"""The box: what stands for the machine of a node, with mounts and processes of its own.

Its first process is our child. When that ends, however it ends, the kernel kills
all that runs in the box and drops its mounts: no shim and no mount outlives us.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from slipway_local.cluster.component import Component
from slipway_local.cluster.machine import cgroups
from slipway_local.cluster.machine.network import Network, make_bridge
from slipway_local.errors import PartError
from slipway_local.processes import Identity, descendants, identity_of, is_alive, send, wait_until

START_SECONDS = 60.0
EMPTYING_SECONDS = 90.0
PASSES = 2
"""What is started while all else is being stopped is met the second time."""

KEPT = ("kubelet", "containerd")
"""Folders below /var/lib, as the node sees them, that outlive the box."""


class Box:
    """The part that the node's other parts run in."""

    def __init__(
        self,
        folder: Path,
        *,
        network: Network,
        log: Path,
        record: Path,
        environment: Mapping[str, str],
    ) -> None:
        """``folder`` holds what the node keeps: images, volumes of pods."""
        self._folder = folder
        self._network = network
        self._environment = environment
        self._component = Component("node", log=log, record=record)

    @property
    def name(self) -> str:
        return "node"

    @property
    def address(self) -> str:
        return self._network.host_address

    @property
    def shown_address(self) -> str:
        return self.address

    @property
    def pid(self) -> int | None:
        return self._component.pid

    @property
    def log(self) -> Path:
        return self._component.log

    async def prepare(self, note: Callable[[str], None]) -> None:
        """There is nothing to fetch."""

    async def start(self) -> None:
        if self.pid is not None:
            return
        cgroups.make(self._network.cgroup)
        make_bridge(self._network)
        mark = self._folder / "ready"
        for name in KEPT:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        mark.unlink(missing_ok=True)

        async def is_ready() -> bool:
            return mark.exists()

        await self._component.start(
            [
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
                *(sys.executable, "-m", "slipway_local.cluster.machine.box_init"),
                *(str(self._folder), *KEPT),
            ],
            environment=self._environment,
            ports=[],
            ready=is_ready,
            seconds=START_SECONDS,
        )

    def pause(self) -> None:
        """Stop all that runs in it where it stands."""
        for _ in range(PASSES):
            for identity in self._inhabitants():
                send(identity, signal.SIGSTOP)

    def resume(self) -> None:
        """Let all of it go on; nothing if it was not paused."""
        for identity in self._inhabitants():
            send(identity, signal.SIGCONT)

    async def stop(self) -> None:
        """End it as pulling the plug would: there is nothing in it that must be asked first."""
        await self.kill()

    async def kill(self) -> None:
        inhabitants = self._inhabitants()
        for identity in inhabitants:
            send(identity, signal.SIGKILL)
        # The last to go unmounts the files of all containers, which then go to disk.
        if not await wait_until(lambda: _are_gone(inhabitants), EMPTYING_SECONDS):
            raise PartError(self.name, "some of what ran in it does not end")
        await self._component.kill(with_descendants=True)

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs the given one in the box, and ends together with it.

        The one at the door must not die before the one inside: whoever inherited that would
        have to bury it, and until then the box could not end. So it does not die with us, as
        other children do, but when the box has.
        """
        door = ["nsenter", f"--target={self._first_process()}", "--mount", "--pid", "--"]
        return ["setpriv", "--pdeathsig=clear", *door, "setpriv", "--pdeathsig=KILL", *command]

    def _inhabitants(self) -> list[Identity]:
        """All processes in the box: those that began in it, those that entered, their children."""
        if self.pid is None:
            return []
        own = _namespace(self._first_process())
        if not own:
            return []
        entered = [pid for pid in psutil.pids() if _namespace(pid) == own]
        below = {found for pid in (self.pid, *entered) for found in descendants(pid)}
        return [*below, *filter(None, map(identity_of, entered))]

    def _first_process(self) -> int:
        below = psutil.Process(self.pid).children() if self.pid is not None else []
        if not below:
            raise PartError(self.name, "does not run; start it first")
        return below[0].pid


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""  # gone meanwhile


def _are_gone(inhabitants: Sequence[Identity]) -> bool:
    _bury_entered()
    return not any(map(is_alive, inhabitants))


def _bury_entered() -> None:
    """Collect the status of those who entered, and lost the one at the door by a kill of ours.

    They are our children then.
    """
    for child in psutil.Process().children():
        if identity_of(child.pid) is None and _lives_in_box(child.pid):
            try:
                os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                continue  # somebody else has


def _lives_in_box(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # Its number here, and another in the box.
    numbers = [line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")]
    return any(len(each) > 1 for each in numbers)
