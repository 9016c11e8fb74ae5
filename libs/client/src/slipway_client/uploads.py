"""Archives on their way up: hashed first, then streamed, and never whole in memory."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from io import SEEK_END
from os import PathLike
from pathlib import Path
from typing import IO

from slipway_client.transport import Body

Source = str | PathLike[str] | IO[bytes]
"""A path, or an open file that can be read from its start more than once."""

Progress = Callable[[int, int], None]
"""Told the bytes sent and all bytes; it starts over if the upload has to. The blocking client
calls it in a thread of its own."""

_CHUNK_SIZE = 1024 * 1024


@contextmanager
def opened(source: Source) -> Iterator[IO[bytes]]:
    """Give the file at its start; one that came open stays open."""
    if isinstance(source, str | PathLike):
        with Path(source).open("rb") as file:
            yield file
    else:
        source.seek(0)
        yield source


async def digest_header(file: IO[bytes]) -> str:
    """``Repr-Digest`` of the whole file (RFC 9530)."""
    file.seek(0)
    digest = await asyncio.to_thread(lambda: hashlib.file_digest(file, "sha256").digest())  # type: ignore[arg-type]  # a file is enough
    return f"sha-256=:{base64.b64encode(digest).decode()}:"


def body_of(file: IO[bytes], *, media_type: str, progress: Progress | None) -> Body:
    size = file.seek(0, SEEK_END)

    async def chunks() -> AsyncIterator[bytes]:
        sent = 0
        file.seek(0)
        while chunk := await asyncio.to_thread(file.read, _CHUNK_SIZE):
            yield chunk
            sent += len(chunk)
            if progress is not None:
                progress(sent, size)

    return Body(size=size, media_type=media_type, chunks=chunks)
