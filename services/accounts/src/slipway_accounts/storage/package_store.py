"""Packages: uploads on their way in, and the catalogue of what is ready."""

from typing import Any
from uuid import UUID

import asyncpg

from slipway_common.contracts.packages import PackageEvent
from slipway_common.postgres.database import Connection

_COLUMNS = """
    id, kind, name, version, state, upload_sha256, sha256, size_bytes, blob, facts, reasons,
    created_at, published_at, revision
"""
_INSERT = """
    INSERT INTO packages (id, account_id, kind, name, version, state, upload_sha256, uploaded_by)
    VALUES ($1, $2, $3, $4, $5, 'processing', $6, $7)
    ON CONFLICT (id) DO NOTHING
"""
_JUDGE_AGAIN = """
    UPDATE packages
       SET state = 'processing', reasons = '[]'
     WHERE id = $1 AND account_id = $2 AND state = 'rejected' AND judged_upload <> $3
"""
_READY = """
    UPDATE packages
       SET state = 'ready', sha256 = $2, size_bytes = $3, blob = $4, facts = $5, reasons = '[]',
           judged_upload = $7, published_at = now()
     WHERE id = $1 AND account_id = $6
       AND (state = 'processing' OR (state = 'rejected' AND judged_upload <> $7))
    RETURNING id
"""
_REJECT = """
    UPDATE packages
       SET state = 'rejected', reasons = $2, judged_upload = $4
     WHERE id = $1 AND account_id = $3
       AND (state = 'processing' OR (state = 'rejected' AND judged_upload <> $4))
"""
_SELECT = f"SELECT {_COLUMNS} FROM packages WHERE id = $1 AND account_id = $2"
_SELECT_PUBLISHED = f"""
    SELECT {_COLUMNS} FROM packages
     WHERE account_id = $1 AND kind = $2 AND name = $3 AND version = $4 AND state = 'ready'
"""
_SELECT_LATEST = f"""
    SELECT {_COLUMNS} FROM packages
     WHERE account_id = $1 AND kind = 'app' AND name = $2 AND state = 'ready'
     ORDER BY published_at DESC, id
     LIMIT 1
"""
_LIST = f"""
    SELECT {_COLUMNS},
           row_number() OVER (PARTITION BY name ORDER BY published_at DESC, id) = 1 AS latest
      FROM packages
     WHERE account_id = $1 AND kind = $2 AND state = 'ready'
     ORDER BY published_at DESC, id
     LIMIT $3 OFFSET $4
"""
_RUNTIMES_OF_RELEASE = """
    SELECT id, name
      FROM packages
     WHERE account_id = $1 AND kind = 'runtime' AND state = 'ready'
       AND starts_with(name, $2 || '.')
"""


async def admit(
    tx: Connection, event: PackageEvent, *, upload_sha256: str, uploaded_by: UUID
) -> None:
    """Write down that the package exists, unless that is known already."""
    await tx.execute(
        _INSERT,
        event.package_id,
        event.account_id,
        event.kind.value,
        event.name,
        event.version,
        upload_sha256,
        uploaded_by,
    )


async def judge_again(
    tx: Connection, package_id: UUID, *, account_id: UUID, upload_event_id: UUID
) -> None:
    """Wait for another verdict, on bytes that were refused before and came again.

    Verdicts come by another topic: one that is here already stands.
    """
    await tx.execute(_JUDGE_AGAIN, package_id, account_id, upload_event_id)


async def mark_ready(
    tx: Connection,
    package_id: UUID,
    *,
    account_id: UUID,
    sha256: str,
    size_bytes: int,
    blob: str,
    facts: dict[str, Any],
    upload_event_id: UUID,
) -> bool:
    """False if it is ready already, or is another account's.

    Raise UniqueViolationError if name and version are taken.
    """
    row = await tx.fetchval(
        _READY, package_id, sha256, size_bytes, blob, facts, account_id, upload_event_id
    )
    return row is not None


async def mark_rejected(
    tx: Connection,
    package_id: UUID,
    *,
    account_id: UUID,
    reasons: list[dict[str, Any]],
    upload_event_id: UUID,
) -> None:
    await tx.execute(_REJECT, package_id, reasons, account_id, upload_event_id)


async def find(tx: Connection, package_id: UUID, *, account_id: UUID) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT, package_id, account_id)


async def find_published(
    tx: Connection, account_id: UUID, *, kind: str, name: str, version: str
) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT_PUBLISHED, account_id, kind, name, version)


async def find_latest_app(tx: Connection, account_id: UUID, name: str) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT_LATEST, account_id, name)


async def list_published(
    tx: Connection, account_id: UUID, *, kind: str, limit: int, offset: int
) -> list[asyncpg.Record]:
    return await tx.fetch(_LIST, account_id, kind, limit, offset)


async def runtimes_of_release(
    tx: Connection, account_id: UUID, release: str
) -> list[asyncpg.Record]:
    return await tx.fetch(_RUNTIMES_OF_RELEASE, account_id, release)
