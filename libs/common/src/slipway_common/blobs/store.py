"""Blobs in containers, streamed both ways with bounded memory.

The only module that knows the Azure client. A container belongs to one account.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobBlock
from azure.storage.blob.aio import BlobClient, BlobServiceClient

from slipway_common.errors import PermanentError, TransientError

BLOCK_SIZE = 4 * 1024 * 1024
"""Four blocks of this size at once were the quickest, and hold 16 MiB of memory."""

PARALLEL_BLOCKS = 4

_WRONG_REQUEST = 400
_SERVER_BUSY = {429, 500, 503}


class BlobMissingError(PermanentError):
    """There is no such blob."""


class BlobExistsError(PermanentError):
    """There is such a blob already, and it was not touched."""


@asynccontextmanager
async def _translated(name: str) -> AsyncIterator[None]:
    try:
        yield
    except ResourceExistsError as error:
        raise BlobExistsError(name) from error
    except ResourceNotFoundError as error:
        raise BlobMissingError(name) from error
    except HttpResponseError as error:
        status = error.status_code or 0
        if status in _SERVER_BUSY or status < _WRONG_REQUEST:
            raise TransientError(f"blob storage answered {status} for {name}") from error
        raise PermanentError(f"blob storage refused {name}: {error.reason}") from error
    except (AzureError, OSError, TimeoutError) as error:
        raise TransientError(f"blob storage cannot be reached for {name}") from error


class BlobWriter:
    """Stages blocks while bytes come in; nothing can be read before ``commit``.

    A writer that is left without a commit leaves blocks that the store itself forgets.
    """

    def __init__(self, client: BlobClient, name: str) -> None:
        self._client = client
        self._name = name
        # Two writers of one name share the space of its blocks, and must not mix them up.
        self._token = uuid4().hex
        self._buffer = bytearray()
        self._blocks: list[BlobBlock] = []
        self._slots = asyncio.Semaphore(PARALLEL_BLOCKS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self.size = 0
        """Bytes written so far."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer += data
        self.size += len(data)
        while len(self._buffer) >= BLOCK_SIZE:
            block = bytes(self._buffer[:BLOCK_SIZE])
            del self._buffer[:BLOCK_SIZE]
            await self._stage(block)

    async def commit(self, *, replace: bool = False) -> None:
        """Make the blob whole. Raise BlobExistsError if there is one, unless it may be replaced.

        When the answer to the commit is lost, the second try meets our own blob and
        raises the same error: the caller compares what lies there with what it meant.
        """
        if self._buffer or not self._blocks:
            await self._stage(bytes(self._buffer))
            self._buffer.clear()
        await asyncio.gather(*self._tasks)
        if self._failure is not None:
            raise self._failure  # of a block whose sending had ended before this call
        conditions: dict[str, Any] = (
            {} if replace else {"match_condition": MatchConditions.IfMissing}
        )
        async with _translated(self._name):
            await self._client.commit_block_list(self._blocks, **conditions)

    async def _stage(self, block: bytes) -> None:
        await self._slots.acquire()
        if self._failure is not None:
            raise self._failure
        block_id = base64.b64encode(f"{self._token}-{len(self._blocks):08d}".encode()).decode()
        self._blocks.append(BlobBlock(block_id))
        task = asyncio.create_task(self._send(block_id, block))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, block_id: str, block: bytes) -> None:
        try:
            async with _translated(self._name):
                # As a stream, which aiohttp sends piece by piece and not in one long write.
                await self._client.stage_block(block_id, BytesIO(block), length=len(block))
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._slots.release()


class BlobStore:
    def __init__(self, connection_string: str) -> None:
        self._service = BlobServiceClient.from_connection_string(
            connection_string,
            max_single_put_size=BLOCK_SIZE,
            max_block_size=BLOCK_SIZE,
            max_single_get_size=BLOCK_SIZE,
            max_chunk_get_size=BLOCK_SIZE,
            connection_data_block_size=1024 * 1024,
            retry_total=3,
            connection_timeout=5,
            read_timeout=30,
        )

    async def close(self) -> None:
        await self._service.close()

    async def check(self) -> None:
        """Raise TransientError if the store does not answer."""
        async with _translated("the account"):
            await self._service.get_account_information()

    async def ensure_container(self, container: str) -> None:
        try:
            async with _translated(container):
                await self._service.create_container(container)
        except BlobExistsError:
            return

    def writer(self, container: str, name: str) -> BlobWriter:
        return BlobWriter(self._service.get_blob_client(container, name), f"{container}/{name}")

    async def put(self, container: str, name: str, data: bytes, *, replace: bool = False) -> None:
        """Store a small blob in one go."""
        async with _translated(f"{container}/{name}"):
            await self._service.get_blob_client(container, name).upload_blob(
                data, overwrite=replace
            )

    async def read(
        self, container: str, name: str, *, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the bytes in chunks of at most BLOCK_SIZE."""
        async with _translated(f"{container}/{name}"):
            client = self._service.get_blob_client(container, name)
            download = await client.download_blob(
                offset=offset or None if length is None else offset, length=length
            )
            async for chunk in download.chunks():
                yield chunk

    async def size(self, container: str, name: str) -> int | None:
        """None if there is no such blob."""
        try:
            async with _translated(f"{container}/{name}"):
                client = self._service.get_blob_client(container, name)
                size: int = (await client.get_blob_properties()).size
                return size
        except BlobMissingError:
            return None

    async def delete(self, container: str, name: str) -> None:
        """Delete the blob, unless it is gone already."""
        try:
            async with _translated(f"{container}/{name}"):
                await self._service.get_blob_client(container, name).delete_blob()
        except BlobMissingError:
            return
