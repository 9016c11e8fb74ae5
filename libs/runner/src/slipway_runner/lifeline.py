"""A socket that somebody holds open: when it closes, whoever started all of this is gone."""

import asyncio
from pathlib import Path


async def wait_for_end(path: Path) -> None:
    """Return when the other side has closed, or was never there."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return
    try:
        while await reader.read(1024):
            continue
    except OSError:
        return
    finally:
        writer.close()
