"""Parts that belong together: their states, and what can be done to each by name."""

from collections.abc import Mapping, Sequence

from slipway_local.cluster.machine.box import Box
from slipway_local.cluster.members import MACHINE
from slipway_local.cluster.outside import Outside
from slipway_local.cluster.piece import Piece
from slipway_local.errors import LocalError
from slipway_local.part import Part, PartState, Progress, Report


def unheard(_: Progress) -> None:
    """Report to nobody."""


class PartGroup:
    def __init__(self, names: Sequence[str]) -> None:
        """``names`` are in the order of starting."""
        self._names = tuple(names)
        self._members: dict[str, Part] = {}
        self._states = dict.fromkeys(names, PartState.WAITING)
        self._report: Report = unheard

    @property
    def names(self) -> tuple[str, ...]:
        """All parts, in the order of starting."""
        return self._names

    @property
    def states(self) -> Mapping[str, PartState]:
        return dict(self._states)

    def part(self, name: str) -> Part:
        if name not in self._states:
            raise LocalError(f"unknown part {name!r}; there are: {', '.join(self.names)}")
        if name not in self._members:
            raise LocalError(f"{name} has no address yet: the cluster was never started")
        return self._members[name]

    async def kill(self, name: str) -> None:
        """End one part as a crash would; ``restart`` brings it back.

        With ``node`` goes all that runs in it, as at a power cut.
        """
        part = self.part(name)
        for each in self._with_dependents(name):
            self._enter(each, PartState.STOPPED)
        await part.kill()

    async def restart(self, name: str) -> None:
        """Stop one part, if it runs, and start it again at the same address.

        With ``node`` all that runs in it is started anew, as at a reboot.
        """
        affected = self._with_dependents(name)
        for each in reversed(affected):
            self._enter(each, PartState.STOPPED)
            await self.part(each).stop()
        for each in affected:
            await self.revive(each)

    async def revive(self, name: str) -> None:
        """Start one part that has ended."""
        part = self.part(name)
        self._enter(name, PartState.PREPARING)
        try:
            await part.prepare(lambda detail: self._enter(name, PartState.PREPARING, detail))
            self._enter(name, PartState.STARTING)
            await part.start()
        except LocalError:
            self._enter(name, PartState.FAILED)
            raise
        elsewhere = isinstance(part, Outside)
        self._enter(name, PartState.EXTERNAL if elsewhere else PartState.RUNNING)

    async def pause(self, name: str) -> None:
        """Stop a part where it stands, as if it hung: its connections stay open."""
        self._pausable(name).pause()

    async def resume(self, name: str) -> None:
        """Let a paused part go on."""
        self._pausable(name).resume()

    def note_crashes(self) -> list[str]:
        """Return the parts that should run and have ended since the last call."""
        crashed = [
            name
            for name, state in self._states.items()
            if state is PartState.RUNNING and self._members[name].pid is None
        ]
        for name in crashed:
            self._enter(name, PartState.CRASHED, "ended by itself")
        return crashed

    def _enter(self, name: str, state: PartState, detail: str = "") -> None:
        self._states[name] = state
        self._report(Progress(name, state, detail))

    async def _stop_members(self) -> None:
        """Stop them all, whatever becomes of one; then raise what went wrong first."""
        failures = []
        for name in reversed(self.names):
            if name in self._members:
                try:
                    await self._members[name].stop()
                except LocalError as error:
                    failures.append(error)
                self._enter(name, PartState.STOPPED)
        if failures:
            raise failures[0]

    def _pausable(self, name: str) -> Piece | Box:
        part = self.part(name)
        if not isinstance(part, Piece | Box):
            raise LocalError(f"{name} runs elsewhere; it is not ours to pause")
        return part

    @staticmethod
    def _with_dependents(name: str) -> tuple[str, ...]:
        return MACHINE if name == MACHINE[0] else (name,)
