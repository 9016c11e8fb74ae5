"""Writing files so that a reader, or a crash, never meets half of one."""

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
LOCK_POLL_SECONDS = 0.05


def write_atomically(path: Path, content: str | bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Replace the file in one step."""
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def try_lock(path: Path) -> int | None:
    """Take the lock on a file and return the descriptor that holds it; None if it is taken.

    The kernel drops the lock with the process, so a crash leaves none behind.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock on a file, waiting for it without holding up the event loop."""
    while (descriptor := try_lock(path)) is None:
        await asyncio.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)
