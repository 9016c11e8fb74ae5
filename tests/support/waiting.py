"""Wait for a condition: tests never sleep for luck."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.05


def wait_for(look: Callable[[], T | None], *, seconds: float = 30, what: str = "condition") -> T:
    """Return the first result of ``look`` that is true; fail if none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about in {seconds:.0f} s; last: {found!r}")
        time.sleep(LOOK_SECONDS)


async def eventually(
    look: Callable[[], Awaitable[T | None]], *, seconds: float = 30, what: str = "condition"
) -> T:
    deadline = time.monotonic() + seconds
    while True:
        found = await look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about in {seconds:.0f} s; last: {found!r}")
        await asyncio.sleep(LOOK_SECONDS)
