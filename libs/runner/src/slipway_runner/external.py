"""A container in the same pod that is no app of ours: we stand at its door, and see it go."""

import asyncio
import time
from enum import StrEnum

from slipway_common.errors import PermanentError

LOCALHOST = "127.0.0.1"
CONNECT_SECONDS = 2.0
START_LOOK_SECONDS = 0.05
LOOK_SECONDS = 2.0


class ExternalError(PermanentError):
    """The container does not do its work; the message is for the session's user."""


class Door(StrEnum):
    OPEN = "open"
    REFUSED = "refused"
    SILENT = "silent"
    """Nobody refuses, nobody answers: it may be busy."""


async def look(port: int) -> Door:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(LOCALHOST, port)
    except TimeoutError:
        return Door.SILENT
    except OSError:
        return Door.REFUSED
    writer.close()
    return Door.OPEN


async def wait_until_open(port: int, *, within_seconds: float) -> None:
    try:
        async with asyncio.timeout(within_seconds):
            while await look(port) is not Door.OPEN:
                await asyncio.sleep(START_LOOK_SECONDS)
    except TimeoutError as error:
        raise ExternalError(
            f"The service did not open its port {port} within {within_seconds:.0f} seconds."
        ) from error


async def wait_until_lost(port: int, *, refused_seconds: float) -> None:
    """Return once it has refused every connection for this long."""
    open_at = time.monotonic()
    while (shut := time.monotonic() - open_at) < refused_seconds:
        await asyncio.sleep(min(LOOK_SECONDS, max(refused_seconds - shut, START_LOOK_SECONDS)))
        if await look(port) is not Door.REFUSED:
            open_at = time.monotonic()
