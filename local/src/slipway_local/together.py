"""Starting several things at once, and failing with the reason of the first that fails."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from slipway_local.errors import LocalError


async def together(steps: Sequence[Coroutine[Any, Any, None]]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if isinstance(first, LocalError):
            raise first from None
        raise
