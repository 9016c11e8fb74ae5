"""How fast the scheduler writes: a token bucket whose waiters have ranks.

What a user waits for goes first. When the server asks for a pause, nobody writes until it is over.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from enum import IntEnum


class Rank(IntEnum):
    """Who goes first when all want to write."""

    SESSION = 0
    END = 1
    NODE = 2
    REFILL = 3


class WriteLimiter:
    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._counted_at = clock()
        self._paused_until = 0.0
        self._waiting: list[tuple[Rank, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.Handle | None = None

    async def acquire(self, rank: Rank) -> None:
        """Return when it is this caller's turn."""
        if not self._waiting and self._take():
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._order), turn))
        self._arm()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._tokens += 1  # its turn had come, and is the next one's now
                self._serve_soon()
            raise

    def pause(self, seconds: float) -> None:
        """Let nobody write for so long: the server has asked for it."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _take(self) -> bool:
        now = self._clock()
        earned = (now - self._counted_at) * self._per_second
        self._tokens = min(float(self._burst), self._tokens + earned)
        self._counted_at = now
        if now < self._paused_until or self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause_left(), self._serve)

    def _serve_soon(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_soon(self._serve)

    def _pause_left(self) -> float:
        missing = max(0.0, 1 - self._tokens) / self._per_second
        return max(missing, self._paused_until - self._clock(), 0.001)

    def _serve(self) -> None:
        self._timer = None
        while self._waiting:
            if self._waiting[0][2].done():  # its caller has given up
                heapq.heappop(self._waiting)
            elif self._take():
                heapq.heappop(self._waiting)[2].set_result(None)
            else:
                self._arm()
                return
