"""Whether the session answers: told at once, or held back until there is an answer."""

import asyncio
from enum import Enum, auto


class State(Enum):
    STARTING = auto()
    READY = auto()
    OVER = auto()


class Readiness:
    def __init__(self) -> None:
        self._state = State.STARTING
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        return self._state is State.READY

    def become(self, state: State) -> None:
        self._state = state
        self._changed.set()
        self._changed = asyncio.Event()

    async def known(self, *, within_seconds: float) -> bool:
        """True if it answers, at once or within this time."""
        try:
            async with asyncio.timeout(within_seconds):
                while self._state is State.STARTING:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return self.ready
