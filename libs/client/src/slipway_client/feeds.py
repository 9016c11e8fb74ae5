"""Lists that go on over pages, and live feeds that go on over connections."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from slipway_client.errors import SlipwayProblem, UnreachableError
from slipway_client.transport import ModelT, Retries, Transport, is_passing, parsed, validated
from slipway_common.contracts.views import PackageView, SessionView, TaskView

ViewT = TypeVar("ViewT", SessionView, TaskView, PackageView)

_PAGE_SIZE = 200
_WORKED_SECONDS = 5.0
"""A connection that lasted this long has worked, even if nothing happened meanwhile."""

_random = random.SystemRandom()


class _Page(BaseModel):
    model_config = ConfigDict(extra="ignore")

    items: tuple[JsonValue, ...]
    next: str | None = None


async def pages(
    transport: Transport,
    path: str,
    model: type[ModelT],
    *,
    params: Mapping[str, str | int] | None = None,
) -> AsyncGenerator[ModelT, None]:
    """Give all items of a list; the following page is asked for when it is needed."""
    cursor: str | None = None
    while True:
        asked: dict[str, str | int] = {**(params or {}), "limit": _PAGE_SIZE}
        if cursor is not None:
            asked["cursor"] = cursor
        response = await transport.request("GET", path, params=asked)
        page = parsed(_Page, response.content)
        for item in page.items:
            yield validated(model, item)
        if page.next is None:
            return
        cursor = page.next


async def watch(
    transport: Transport,
    path: str,
    model: type[ViewT],
    *,
    event: str,
    after: int | None,
    over: Callable[[ViewT], bool],
) -> AsyncGenerator[ViewT, None]:
    """Give each newer view until one says that it is over; a view never follows a newer one.

    ``after`` is the revision that the caller has seen already. A connection that ends is opened
    again where it left off; so many in a row that tell nothing are an error.
    """
    clock = asyncio.get_running_loop()
    seen = after
    mark = None if after is None else str(after)
    failures = 0
    while True:
        opened = clock.time()
        fault: Exception = UnreachableError(f"the live feed of {path} keeps ending", sent=True)
        told = False
        try:
            async with transport.events(path, after=mark) as messages:
                async for message in messages:
                    if message.event != event:
                        continue
                    view = parsed(model, message.data)
                    if seen is not None and view.revision <= seen:
                        continue
                    seen, mark, told = view.revision, message.id or str(view.revision), True
                    yield view
                    if over(view):
                        return
        except (UnreachableError, SlipwayProblem) as error:
            # Of an answer that names no wait at all, only False means that waiting is no help.
            if is_passing(error, limit=transport.retries.longest_wait) is False:
                raise
            fault = error
        worked = told or clock.time() - opened >= _WORKED_SECONDS
        failures = 0 if worked else failures + 1
        if failures >= transport.retries.attempts:
            raise fault
        await asyncio.sleep(_pause(transport.retries, failures, fault).total_seconds())


def _pause(retries: Retries, failures: int, fault: Exception) -> timedelta:
    if isinstance(fault, SlipwayProblem) and fault.retry_after is not None:
        return fault.retry_after
    # At random, so that those who lost the same server do not all come back at once.
    longest = min(retries.longest_wait, retries.first_wait * (1 << failures))
    return longest * _random.uniform(0.5, 1)
