"""A pool of connections that survives restarts and failovers of PostgreSQL.

What passes (a restart, a failover, a dead-lock, a time-out) is a TransientError; the pool then
drops its connections, because asyncpg would keep those to a demoted primary for days.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from slipway_common.contracts.problems import Code, problem
from slipway_common.errors import TransientError
from slipway_common.settings import PostgresSettings

Connection: TypeAlias = (
    "asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"
)

_CONNECTION_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # 57P01 and its kin: shut down, crashed, starting
    asyncpg.ReadOnlySQLTransactionError,  # 25006: this one is not the primary any more
    asyncpg.InternalClientError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
)
_TRY_AGAIN = (  # asked first, for a TimeoutError is an OSError, too
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    TimeoutError,
)

ACQUIRE_TIMEOUT_SECONDS = 2.0
"""A request that cannot get a connection by then is told to come back, rather than hang."""


async def _set_codecs(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
    )


class Database:
    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", settings: PostgresSettings) -> None:
        self._pool = pool
        self._settings = settings

    @classmethod
    async def connect(cls, settings: PostgresSettings, *, service: str) -> Self:
        timeout = int(settings.statement_timeout.total_seconds() * 1000)
        pool = await asyncpg.create_pool(
            settings.dsn.get_secret_value(),
            min_size=2,
            max_size=settings.pool_size,
            timeout=5,
            command_timeout=settings.statement_timeout.total_seconds() + 5,
            init=_set_codecs,
            target_session_attrs=SessionAttribute.read_write,
            server_settings={
                "application_name": f"slipway-{service}",
                "statement_timeout": str(timeout),
                "lock_timeout": str(timeout),
                "idle_in_transaction_session_timeout": str(timeout * 2),
            },
        )
        return cls(pool, settings)

    async def close(self) -> None:
        self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection without a transaction: each statement stands for itself."""
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
                yield connection
        except _TRY_AGAIN as error:
            raise TransientError(f"the database is busy: {type(error).__name__}") from error
        except (
            asyncpg.CharacterNotInRepertoireError,
            asyncpg.UntranslatableCharacterError,
        ) as error:
            raise problem(
                Code.INVALID_REQUEST, "The text holds a character that cannot be stored."
            ) from error
        except _CONNECTION_LOST as error:
            await self._pool.expire_connections()
            raise TransientError(f"the database is away: {type(error).__name__}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """All of the block, or nothing.

        After an error at the very end the outcome is unknown: what is done in the
        block must therefore be harmless when it is done again.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def check(self) -> None:
        """Raise TransientError unless the database takes writes."""
        async with self.connection() as connection:
            if await connection.fetchval("SELECT pg_is_in_recovery()"):
                await self._pool.expire_connections()
                raise TransientError("the database takes no writes")

    async def listen(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of its own, for LISTEN and for locks that belong to a session."""
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            self._settings.dsn.get_secret_value(),
            timeout=5,
            command_timeout=10,
            target_session_attrs=SessionAttribute.read_write,
        )
        return connection
