"""Applies ``NNNN_what.sql`` files once each, in order, however many processes start at once."""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources.abc import Traversable

import asyncpg

from slipway_common.errors import PermanentError
from slipway_common.postgres.database import Connection

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")
_LOCK = 0x51_1B_3A_71
"""Any number that nothing else locks."""

_CREATE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number integer PRIMARY KEY,
        name text NOT NULL,
        sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
_SELECT = "SELECT number, sha256 FROM schema_migrations ORDER BY number"
_INSERT = "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)"


class MigrationError(PermanentError):
    """The files do not fit what the database has been through."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Traversable) -> list[Migration]:
    migrations = []
    for file in folder.iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _NAME.match(file.name)
        if match is None:
            raise MigrationError(f"{file.name}: expected a name like 0001_what.sql")
        migrations.append(Migration(int(match[1]), file.name, file.read_text()))
    migrations.sort(key=lambda migration: migration.number)
    if [m.number for m in migrations] != list(range(1, len(migrations) + 1)):
        raise MigrationError("the migrations are not numbered 1, 2, 3, …")
    return migrations


async def migrate(connection: Connection, migrations: list[Migration]) -> list[str]:
    """Bring the schema up to date; returns the names of what was applied."""
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        return await _apply(connection, migrations)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _apply(connection: Connection, migrations: list[Migration]) -> list[str]:
    await connection.execute(_CREATE)
    applied = {row["number"]: row["sha256"] for row in await connection.fetch(_SELECT)}
    if len(applied) > len(migrations):
        raise MigrationError("the database is newer than this program")
    done = []
    for migration in migrations:
        known = applied.get(migration.number)
        if known == migration.sha256:
            continue
        if known is not None:
            raise MigrationError(f"{migration.name} was changed after it had been applied")
        try:
            async with connection.transaction():
                # Better to fail and be tried again than to hold up every reader of a busy table.
                await connection.execute("SET LOCAL lock_timeout = '4s'")
                await connection.execute(migration.sql)
                await connection.execute(
                    _INSERT, migration.number, migration.name, migration.sha256
                )
        except asyncpg.PostgresError as error:
            raise MigrationError(f"{migration.name}: {error}") from error
        done.append(migration.name)
    return done
