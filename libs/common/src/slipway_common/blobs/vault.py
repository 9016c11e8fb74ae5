"""Blobs that nobody reads without the account's key: encrypted before they leave the process."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self
from uuid import UUID

from slipway_common.blobs.names import container_of, context_of
from slipway_common.blobs.store import BlobStore, BlobWriter
from slipway_common.crypto.envelope import (
    Decryptor,
    Encryptor,
    EnvelopeError,
    Header,
    HeaderReader,
    new_data_key,
)
from slipway_common.crypto.keys import KeyRing


class VaultWriter:
    """A BlobWriter whose bytes are encrypted on the way; ``size`` counts the plaintext."""

    def __init__(self, writer: BlobWriter, encryptor: Encryptor) -> None:
        self._writer = writer
        self._encryptor = encryptor
        self._finished = False
        self.size = 0

    async def __aenter__(self) -> Self:
        await self._writer.__aenter__()
        await self._writer.write(self._encryptor.header)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._writer.__aexit__(exc_type, exc, traceback)

    async def write(self, data: bytes | memoryview) -> None:
        self.size += len(data)
        for segment in self._encryptor.feed(data):
            await self._writer.write(segment)

    async def commit(self, *, replace: bool = False) -> None:
        """As BlobWriter.commit."""
        if not self._finished:
            self._finished = True
            await self._writer.write(self._encryptor.finish())
        await self._writer.commit(replace=replace)


class Vault:
    def __init__(self, store: BlobStore, keys: KeyRing) -> None:
        self._store = store
        self._keys = keys

    async def writer(self, account_id: UUID, blob: str) -> VaultWriter:
        data_key = new_data_key()
        encryptor = Encryptor(
            data_key,
            key=await self._keys.wrap(account_id, data_key),
            context=context_of(account_id, blob),
        )
        return VaultWriter(self._store.writer(container_of(account_id), blob), encryptor)

    async def put(self, account_id: UUID, blob: str, data: bytes, *, replace: bool = False) -> None:
        async with await self.writer(account_id, blob) as writer:
            await writer.write(data)
            await writer.commit(replace=replace)

    async def read(self, account_id: UUID, blob: str) -> AsyncIterator[bytes]:
        """Yield plaintext; what comes out is right, and the end is the true end."""
        headers = HeaderReader()
        decryptor: Decryptor | None = None
        async for chunk in self._store.read(container_of(account_id), blob):
            rest: bytes = chunk
            if decryptor is None:
                found = headers.feed(chunk)
                if found is None:
                    continue
                header, rest = found
                data_key = await self._keys.unwrap(account_id, header.key)
                decryptor = Decryptor(header, data_key, context=context_of(account_id, blob))
            for segment in decryptor.feed(rest):
                yield segment
        if decryptor is None:
            raise EnvelopeError("the file is cut off")
        yield decryptor.finish()

    async def get(self, account_id: UUID, blob: str) -> bytes:
        return b"".join([part async for part in self.read(account_id, blob)])

    async def data_key(self, account_id: UUID, blob: str) -> bytes:
        """The key of one blob, for whoever was granted it: it opens this blob and no other."""
        header = await self.header(account_id, blob)
        return await self._keys.unwrap(account_id, header.key)

    async def header(self, account_id: UUID, blob: str) -> Header:
        reader = HeaderReader()
        async for chunk in self._store.read(container_of(account_id), blob, length=64 * 1024):
            found = reader.feed(chunk)
            if found is not None:
                return found[0]
        raise EnvelopeError("the file is cut off")

    def read_ciphertext(self, account_id: UUID, blob: str) -> AsyncIterator[bytes]:
        return self._store.read(container_of(account_id), blob)

    async def delete(self, account_id: UUID, blob: str) -> None:
        await self._store.delete(container_of(account_id), blob)
