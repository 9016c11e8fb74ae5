from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from integration.accounts.world import World
from slipway_accounts.app import upgrade
from slipway_common.blobs.store import BlobStore
from slipway_common.postgres.database import Database
from slipway_common.settings import PostgresSettings


@pytest.fixture
async def world(
    postgres: PostgresSettings, blobs: BlobStore, tmp_path: Path
) -> AsyncIterator[World]:
    database = await Database.connect(postgres, service="accounts")
    await upgrade(database)
    yield World(database, blobs, tmp_path / "keys")
    await database.close()
