"""Blobs and the vault on a real store."""

import asyncio
import os
import re
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from integration.common.tcp_proxy import losing_proxy
from slipway_common.blobs.names import container_of
from slipway_common.blobs.store import (
    BLOCK_SIZE,
    BlobExistsError,
    BlobMissingError,
    BlobStore,
    BlobWriter,
)
from slipway_common.blobs.vault import Vault
from slipway_common.crypto.envelope import EnvelopeError
from slipway_common.crypto.keys import FileKeyRing
from slipway_common.errors import TransientError
from support.running import RunningStack

MEBI = 1024 * 1024


@pytest.fixture
async def account(blobs: BlobStore, keys: FileKeyRing) -> UUID:
    account_id = uuid4()
    await keys.create(account_id)
    await blobs.ensure_container(container_of(account_id))
    return account_id


@pytest.fixture
def keys(tmp_path: Path) -> FileKeyRing:
    return FileKeyRing(tmp_path / "keys")


@pytest.fixture
def vault(blobs: BlobStore, keys: FileKeyRing) -> Vault:
    return Vault(blobs, keys)


async def whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


class TestStore:
    @pytest.mark.parametrize(
        "size", [0, 1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 2 * BLOCK_SIZE]
    )
    async def test_what_was_written_in_any_pieces_comes_back(
        self, blobs: BlobStore, account: UUID, size: int
    ) -> None:
        container, data = container_of(account), os.urandom(size)

        async with blobs.writer(container, "file") as writer:
            for start in range(0, size, 700_001):
                await writer.write(data[start : start + 700_001])
            await writer.commit()

        assert await whole(blobs.read(container, "file")) == data
        assert await blobs.size(container, "file") == size

    async def test_a_part_of_a_blob_can_be_read(self, blobs: BlobStore, account: UUID) -> None:
        container = container_of(account)
        await blobs.put(container, "file", b"0123456789")

        assert await whole(blobs.read(container, "file", offset=3)) == b"3456789"
        assert await whole(blobs.read(container, "file", offset=3, length=4)) == b"3456"
        assert await whole(blobs.read(container, "file", length=4)) == b"0123"
        assert await whole(blobs.read(container, "file", length=400)) == b"0123456789"

    async def test_a_blob_that_is_there_is_never_touched_by_a_commit(
        self, blobs: BlobStore, account: UUID
    ) -> None:
        container = container_of(account)
        await blobs.put(container, "file", b"first")

        async with blobs.writer(container, "file") as writer:
            await writer.write(b"second")
            with pytest.raises(BlobExistsError):
                await writer.commit()
        with pytest.raises(BlobExistsError):
            await blobs.put(container, "file", b"third")

        assert await whole(blobs.read(container, "file")) == b"first"

    async def test_it_is_replaced_only_where_that_is_asked_for(
        self, blobs: BlobStore, account: UUID
    ) -> None:
        container = container_of(account)
        await blobs.put(container, "file", b"first")

        async with blobs.writer(container, "file") as writer:
            await writer.write(b"second")
            await writer.commit(replace=True)

        assert await whole(blobs.read(container, "file")) == b"second"

    async def test_of_ten_writers_of_one_name_one_wins(
        self, blobs: BlobStore, account: UUID
    ) -> None:
        container = container_of(account)

        async def write(number: int) -> int | None:
            async with blobs.writer(container, "file") as writer:
                await writer.write(str(number).encode() * 5)
                try:
                    await writer.commit()
                except BlobExistsError:
                    return None
            return number

        [winner] = [
            each for each in await asyncio.gather(*map(write, range(10))) if each is not None
        ]
        assert await whole(blobs.read(container, "file")) == str(winner).encode() * 5

    async def test_a_blob_that_is_not_there_is_missing_and_gone_already(
        self, blobs: BlobStore, account: UUID
    ) -> None:
        container = container_of(account)

        with pytest.raises(BlobMissingError):
            await whole(blobs.read(container, "file"))
        assert await blobs.size(container, "file") is None
        await blobs.delete(container, "file")
        await blobs.ensure_container(container)

    async def test_without_a_commit_nothing_is_there(self, blobs: BlobStore, account: UUID) -> None:
        container = container_of(account)

        async def give_up() -> None:
            async with blobs.writer(container, "file") as writer:
                await writer.write(os.urandom(2 * BLOCK_SIZE + 5))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await give_up()
        assert await blobs.size(container, "file") is None
        with pytest.raises(BlobMissingError):
            await whole(blobs.read(container, "file"))

    async def test_when_the_answer_to_a_commit_is_lost_the_next_try_finds_our_own_blob(
        self, parts: RunningStack, blobs: BlobStore, account: UUID
    ) -> None:
        container, data = container_of(account), os.urandom(BLOCK_SIZE + 10)
        address = re.search(r"//([^:/]+):(\d+)", parts.stack.blob_connection)
        assert address is not None
        async with losing_proxy(address[1], int(address[2])) as proxy:
            through = BlobStore(
                parts.stack.blob_connection.replace(
                    f"//{address[1]}:{address[2]}", f"//127.0.0.1:{proxy.port}"
                )
            )
            async with through.writer(container, "file") as writer:
                await writer.write(data)
                proxy.lose_answer_to(b"comp=blocklist")
                with suppress(TransientError):  # where the client has not tried again itself
                    await self.refused_commit(writer)
                await self.refused_commit(writer)
            await through.close()

        assert proxy.lost == 1
        assert await whole(blobs.read(container, "file")) == data

    @staticmethod
    async def refused_commit(writer: BlobWriter) -> None:
        with pytest.raises(BlobExistsError):
            await writer.commit()

    async def test_a_store_that_is_away_is_a_passing_fault(
        self, parts: RunningStack, account: UUID
    ) -> None:
        away = BlobStore(re.sub(r"//([^:/]+):\d+", r"//\1:9", parts.stack.blob_connection))
        away._service._config.retry_policy.total_retries = 0

        with pytest.raises(TransientError):
            await away.check()
        async with away.writer(container_of(account), "file") as writer:
            await writer.write(bytes(BLOCK_SIZE))
            with pytest.raises(TransientError):
                await writer.commit()
        await away.close()

    async def test_memory_stays_bounded_whatever_the_size(
        self, blobs: BlobStore, account: UUID
    ) -> None:
        container, piece, pieces = container_of(account), os.urandom(MEBI), 96
        tracemalloc.start()
        async with blobs.writer(container, "file") as writer:
            for _ in range(pieces):
                await writer.write(piece)
            await writer.commit()
        digest = sha256()
        async for chunk in blobs.read(container, "file"):
            digest.update(chunk)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert digest.digest() == sha256(piece * pieces).digest()
        assert peak < 48 * MEBI


class TestVault:
    @pytest.mark.parametrize("size", [0, 1, MEBI, MEBI + 1, 5 * MEBI + 3])
    async def test_what_was_stored_comes_back(self, vault: Vault, account: UUID, size: int) -> None:
        data = os.urandom(size)

        await vault.put(account, "packages/one", data)

        assert await vault.get(account, "packages/one") == data

    async def test_only_ciphertext_lies_in_the_store(
        self, vault: Vault, blobs: BlobStore, account: UUID
    ) -> None:
        canary = os.urandom(32)
        await vault.put(account, "file", canary * 100_000)

        raw = await whole(blobs.read(container_of(account), "file"))

        assert raw.startswith(b"SLIPWAY\x01")
        assert canary[:12] not in raw
        assert (await vault.data_key(account, "file")) not in raw
        assert b"".join([part async for part in vault.read_ciphertext(account, "file")]) == raw

    async def test_the_same_bytes_are_never_encrypted_alike(
        self, vault: Vault, blobs: BlobStore, account: UUID
    ) -> None:
        raws = []
        for name in ("one", "two"):
            await vault.put(account, name, b"same")
            raws.append(await whole(blobs.read(container_of(account), name)))

        assert await vault.data_key(account, "one") != await vault.data_key(account, "two")
        assert raws[0][-20:] != raws[1][-20:]

    async def test_a_blob_opens_under_no_other_name_and_in_no_other_account(
        self, vault: Vault, blobs: BlobStore, keys: FileKeyRing, account: UUID
    ) -> None:
        other = uuid4()
        await keys.create(other)
        await blobs.ensure_container(container_of(other))
        await vault.put(account, "file", b"mine")
        raw = await whole(blobs.read(container_of(account), "file"))
        await blobs.put(container_of(account), "moved", raw)
        await blobs.put(container_of(other), "file", raw)

        for owner, name in ((account, "moved"), (other, "file")):
            with pytest.raises(EnvelopeError):
                await vault.get(owner, name)

    @pytest.mark.parametrize("cut", [0, 5, 11, 300, -1, -17])
    async def test_a_blob_that_was_cut_off_gives_no_whole_content(
        self, vault: Vault, blobs: BlobStore, account: UUID, cut: int
    ) -> None:
        await vault.put(account, "file", b"x" * 1000)
        raw = await whole(blobs.read(container_of(account), "file"))
        await blobs.put(container_of(account), "file", raw[:cut], replace=True)

        with pytest.raises(EnvelopeError):
            await vault.get(account, "file")

    async def test_what_was_not_committed_is_not_there(self, vault: Vault, account: UUID) -> None:
        async with await vault.writer(account, "file") as writer:
            await writer.write(b"half")

        with pytest.raises(BlobMissingError):
            await vault.get(account, "file")
        await vault.delete(account, "file")

    async def test_memory_stays_bounded_whatever_the_size(
        self, vault: Vault, account: UUID
    ) -> None:
        piece, pieces = os.urandom(MEBI), 64
        tracemalloc.start()
        async with await vault.writer(account, "file") as writer:
            for _ in range(pieces):
                await writer.write(piece)
            await writer.commit()
        size = 0
        async for chunk in vault.read(account, "file"):
            size += len(chunk)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert (size, writer.size) == (pieces * MEBI, pieces * MEBI)
        assert peak < 48 * MEBI
