"""A stack that lives as long as the test session, on a loop and a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from slipway_local.stack import Stack

T = TypeVar("T")

START_SECONDS = 300


class RunningStack:
    """The stack for tests of any kind, synchronous or on a loop of their own."""

    def __init__(self, stack: Stack, *, failpoints: Path | None = None) -> None:
        """``failpoints`` is the file that the services of this stack look into."""
        self._failpoints = failpoints
        self.stack = stack
        self._loop = asyncio.new_event_loop()
        # Children die with the thread that started them, so it must outlive all of them.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T], *, seconds: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def start(self) -> None:
        self.call(self.stack.start(), seconds=START_SECONDS)

    def stop(self) -> None:
        self.call(self.stack.stop(), seconds=120)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def kill(self, name: str) -> None:
        self.call(self.stack.kill(name))

    def restart(self, name: str, **environment: str) -> None:
        """Start again what was killed or ended."""
        self.call(self.stack.restart(name, extra_env=environment or None), seconds=120)

    def arm(self, failpoint: str) -> None:
        """Let the service that comes by this place next die there."""
        assert self._failpoints is not None
        self._failpoints.write_text(f"{failpoint}:kill")

    def disarm(self) -> None:
        assert self._failpoints is not None
        self._failpoints.unlink(missing_ok=True)

    def has_ended(self, name: str) -> bool:
        """True once the process of a part is gone, by whatever hand."""
        return self.stack.part(name).pid is None
