"""One process of the cluster: like any part's, and it can be paused and may run in a box."""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from slipway_local.processes import KILL_SECONDS, Identity, descendants, is_alive, send
from slipway_local.program import Program


class Component(Program):
    """A program that may stand behind another that only entered the box for it."""

    def __init__(self, name: str, *, log: Path, record: Path, entered: bool = False) -> None:
        """``entered`` says that our child is the one at the door, and its child is meant."""
        super().__init__(name, log=log, record=record)
        self._entered = entered
        self._behind_door: Identity | None = None

    @property
    @override
    def pid(self) -> int | None:
        meant = self._meant
        return meant.pid if meant is not None else None

    @override
    async def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        ports: Sequence[int],
        ready: Callable[[], Awaitable[bool]],
        seconds: float,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        await super().start(
            command,
            environment=environment,
            ports=ports,
            ready=ready,
            seconds=seconds,
            folder=folder,
            user=user,
        )
        if self._entered and self._child is not None:
            below = descendants(self._child.pid)
            self._behind_door = below[0] if below else None

    def pause(self) -> None:
        """Stop it where it stands, as a machine that hangs would."""
        if self._meant is not None:
            send(self._meant, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on; nothing if it was not paused."""
        # The one at the door stops when its child does, and has to be woken as well.
        for identity in (self._at_door, self._meant):
            if identity is not None:
                send(identity, signal.SIGCONT)

    @override
    async def stop(self, *, signal_number: signal.Signals, grace: float) -> None:
        child, meant = self._child, self._meant
        if child is not None and meant is not None:
            self.resume()
            send(meant, signal_number)
            if not await child.wait(grace):
                await self.kill(with_descendants=True)
        self._child = None

    @override
    async def kill(self, *, with_descendants: bool) -> None:
        child, meant = self._child, self._meant
        if self._entered and child is not None and meant is not None:
            # The one at the door then goes by itself, when it has buried the other.
            send(meant, signal.SIGKILL)
            self.resume()
            await child.wait(KILL_SECONDS)
        await super().kill(with_descendants=with_descendants)

    @property
    def _at_door(self) -> Identity | None:
        child = self._child
        return child.identity if child is not None and child.running else None

    @property
    def _meant(self) -> Identity | None:
        if not self._entered:
            return self._at_door
        behind = self._behind_door
        return behind if behind is not None and is_alive(behind) else None
