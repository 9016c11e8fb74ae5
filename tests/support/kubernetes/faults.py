"""What goes wrong on demand: planned beforehand, met by the next requests that fit."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from support.kubernetes.verbs import Ask
from support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answered without looking; ``retry_after`` goes into the header of that name."""

    code: int
    reason: str = ""
    message: str = ""
    retry_after: str | None = None
    plain: bool = False
    """Answered in plain text, as proxies and the server's own filters do."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Done at once, answered late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoseAnswer:
    """Done; the connection is cut before the answer."""


@dataclass(frozen=True, slots=True)
class LoseRequest:
    """Not done; the connection is cut."""


@dataclass(frozen=True, slots=True)
class HalfAnswer:
    """Done; the connection is cut in the middle of the answer."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Of a watch: accepted, and then nothing comes, not even a bookmark."""


@dataclass(frozen=True, slots=True)
class Expire:
    """Of a watch: the server does not remember so far back, and says so inside the stream."""


@dataclass(frozen=True, slots=True)
class Say:
    """Of a watch: this is sent, as it is, before anything else."""

    content: bytes
    then_end: bool = False


Effect: TypeAlias = Refuse | Slow | LoseAnswer | LoseRequest | HalfAnswer | Silence | Expire | Say


@dataclass(slots=True)
class Plan:
    effect: Effect
    fits: Callable[[Ask], bool]
    times: int | None
    """How often it is still to come about; None: until it is called off."""

    met: int = 0

    def call_off(self) -> None:
        self.times = 0

    async def has_been_met(self, times: int = 1) -> None:
        async def met() -> bool:
            return self.met >= times

        await eventually(met, what=f"{type(self.effect).__name__}, {times} times")


class Faults:
    def __init__(self) -> None:
        self._plans: list[Plan] = []
        self._stalled: dict[str, asyncio.Event] = {}
        self.event_delay = 0.0
        """Seconds by which each event of a watch comes late; the order stays."""

        self.events_come_twice = False

    def plan(
        self,
        effect: Effect,
        *,
        verb: str = "",
        plural: str = "",
        name: str = "",
        user: str = "",
        times: int | None = 1,
        when: Callable[[Ask], bool] = lambda _: True,
    ) -> Plan:
        """Let this happen to the next requests that fit; what is not named fits all."""

        def fits(ask: Ask) -> bool:
            stated = (
                (verb, ask.verb),
                (plural, ask.kind.plural),
                (name, _name(ask)),
                (user, ask.user),
            )
            return all(wanted in {"", found} for wanted, found in stated) and when(ask)

        plan = Plan(effect, fits, times)
        self._plans.append(plan)
        return plan

    def met_by(self, ask: Ask) -> Effect | None:
        for plan in self._plans:
            if (plan.times is None or plan.times > 0) and plan.fits(ask):
                plan.met += 1
                if plan.times is not None:
                    plan.times -= 1
                return plan.effect
        return None

    @contextmanager
    def stalled(self, plural: str) -> Iterator[None]:
        """Let nothing come through the watches of a kind that are open or are opened meanwhile."""
        flows = asyncio.Event()
        self._stalled[plural] = flows
        try:
            yield
        finally:
            del self._stalled[plural]
            flows.set()

    async def flows(self, plural: str) -> None:
        stalled = self._stalled.get(plural)
        if stalled is not None:
            await stalled.wait()


def _name(ask: Ask) -> str:
    if ask.name or not isinstance(ask.body, dict):
        return ask.name
    return str((ask.body.get("metadata") or {}).get("name", ""))
