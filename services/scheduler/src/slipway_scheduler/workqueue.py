"""Keys that want a look: each once, however often it is asked for, and never by two at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A key that is asked for while somebody looks at it is looked at once more afterwards."""

    def __init__(self) -> None:
        self._ready: dict[K, None] = {}
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._later: dict[K, asyncio.TimerHandle] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._ready) + len(self._busy)

    def add(self, key: K) -> None:
        timer = self._later.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
        else:
            self._ready[key] = None
            self._tell()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for it later, unless somebody asks sooner."""
        if key in self._ready:
            return
        loop = asyncio.get_running_loop()
        planned = self._later.get(key)
        if planned is not None:
            if planned.when() <= loop.time() + seconds:
                return
            planned.cancel()
        self._later[key] = loop.call_later(seconds, self.add, key)

    async def work(self, handle: Callable[[K], Awaitable[None]], *, until_idle: bool) -> None:
        """Be one worker; with ``until_idle``, return when nothing is ready."""
        while True:
            while not self._ready:
                if until_idle:
                    return
                await self._wait()
            key = next(iter(self._ready))
            del self._ready[key]
            self._busy.add(key)
            try:
                await handle(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self._ready[key] = None
                self._tell()
            # Ten thousand keys that want nothing must not keep everybody else waiting.
            await asyncio.sleep(0)

    async def settled(self, concerns: Callable[[K], bool]) -> None:
        """Return when nobody is busy with any of these keys; what was asked of them is dropped."""
        for key in [key for key in self._ready if concerns(key)]:
            del self._ready[key]
        for key in [key for key in self._later if concerns(key)]:
            self._later.pop(key).cancel()
        self._again = {key for key in self._again if not concerns(key)}
        while any(concerns(key) for key in self._busy):
            await self._wait()

    def _tell(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
