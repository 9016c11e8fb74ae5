"""An event loop in a thread of its own, on which callers without one run coroutines.

A thread, and not a loop in the caller's thread, since notebooks have a running loop there already.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_CANCEL_SECONDS = 5.0


class Portal:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="slipway-client", daemon=True
        )
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return not self._loop.is_closed()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the result. An interrupt of the caller cancels the coroutine first."""
        begun = asyncio.Event()
        ended = threading.Event()

        async def supervised() -> T:
            try:
                await begun.wait()
                return await coroutine
            finally:
                coroutine.close()
                ended.set()

        future = asyncio.run_coroutine_threadsafe(supervised(), self._loop)
        try:
            # An interrupt before this line finds nothing running that could not be cancelled.
            self._loop.call_soon_threadsafe(begun.set)
            return future.result()
        except BaseException:
            # A generator must not be closed while it still runs, so wait for its last step.
            if future.cancel():
                ended.wait(_CANCEL_SECONDS)
            raise

    def close(self) -> None:
        self.call(self._loop.shutdown_asyncgens())
        self.call(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
