"""What one scheduler at a time does for all: warm pools, node pools, policies, leftovers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from slipway_common.periodic import Periodic
from slipway_scheduler.leadership import Elector, Leadership

Work = Callable[[Leadership], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Chore:
    """Done again and again while we lead, each time from what is there at that moment."""

    name: str
    step: Callable[[], Awaitable[None]]
    every: timedelta


class Chores:
    def __init__(
        self, elector: Elector, chores: Sequence[Chore], *, works: Sequence[Work] = ()
    ) -> None:
        """``works`` keep their own pace."""
        self._elector = elector
        self._chores = tuple(chores)
        self._works = tuple(works)

    async def run(self) -> None:
        await self._elector.run(self._lead)

    async def _lead(self, leadership: Leadership) -> None:
        async with asyncio.TaskGroup() as group:
            for chore in self._chores:
                loop = Periodic(chore.name, _guarded(chore, leadership), every=chore.every)
                group.create_task(loop.run())
            for work in self._works:
                group.create_task(_run(work, leadership))


async def _run(work: Work, leadership: Leadership) -> None:
    await work(leadership)


def _guarded(chore: Chore, leadership: Leadership) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        leadership.check()
        await chore.step()

    return step
