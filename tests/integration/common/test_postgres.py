"""The pool and the migrations on a real server: it goes away, comes back, is short of places."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from slipway_accounts.app import upgrade
from slipway_common.errors import TransientError
from slipway_common.postgres import messages
from slipway_common.postgres.database import Database
from slipway_common.postgres.migrations import MigrationError, migrate, read_migrations
from slipway_common.settings import PostgresSettings
from support.running import RunningStack
from support.waiting import eventually


class TestDatabase:
    async def test_a_restart_of_the_server_heals_without_a_new_process(
        self, parts: RunningStack
    ) -> None:
        settings = PostgresSettings.model_validate({"dsn": parts.stack.postgres_dsn})
        database = await Database.connect(settings, service="test")
        listening = await database.listen()
        await database.check()
        async with database.connection() as connection:
            before = await connection.fetchval("SELECT pg_backend_pid()")

        parts.kill("postgres")
        with pytest.raises(TransientError):
            async with database.transaction() as tx:
                await tx.fetchval("SELECT 1")
        parts.restart("postgres")

        async def heals() -> bool:
            try:
                await database.check()
            except TransientError:
                return False
            return True

        started = time.monotonic()
        await eventually(heals, seconds=5)
        assert time.monotonic() - started < 5
        async with database.transaction() as tx:
            assert await tx.fetchval("SELECT pg_backend_pid()") != before
        listening.terminate()
        await database.close()

    async def test_who_finds_no_free_connection_is_told_to_come_back(
        self, postgres: PostgresSettings
    ) -> None:
        few = postgres.model_copy(update={"pool_size": 2})
        database = await Database.connect(few, service="test")
        async with AsyncExitStack() as stack:
            held = [await stack.enter_async_context(database.connection()) for _ in range(2)]
            pids = [await each.fetchval("SELECT pg_backend_pid()") for each in held]

            started = time.monotonic()
            with pytest.raises(TransientError, match="busy"):
                async with database.connection():
                    raise AssertionError("there was a third connection")
            assert time.monotonic() - started <= 3

        # Being busy is no reason to throw the connections away.
        async with database.connection() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") in pids
        await database.close()

    async def test_a_value_that_does_not_fit_is_no_passing_fault(self, database: Database) -> None:
        for wrong in (2**40, "text"):
            with pytest.raises(asyncpg.DataError, match="invalid input"):
                async with database.transaction() as tx:
                    await tx.fetchval("SELECT $1::integer", wrong)
        with pytest.raises(asyncpg.NumericValueOutOfRangeError):
            async with database.transaction() as tx:
                await tx.fetchval("SELECT 2147483647 + 1")

    async def test_what_takes_too_long_is_a_passing_fault(self, postgres: PostgresSettings) -> None:
        quick = postgres.model_copy(update={"statement_timeout": timedelta(milliseconds=200)})
        database = await Database.connect(quick, service="test")

        with pytest.raises(TransientError, match="busy"):
            async with database.transaction() as tx:
                await tx.execute("SELECT pg_sleep(20)")
        await database.close()

    async def test_an_error_undoes_the_whole_block(self, database: Database) -> None:
        event_id = uuid4()

        async def hear_and_fail() -> None:
            async with database.transaction() as tx:
                assert await messages.first_time(tx, consumer="test", event_id=event_id)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await hear_and_fail()
        async with database.transaction() as tx:
            assert await messages.first_time(tx, consumer="test", event_id=event_id)
        async with database.transaction() as tx:
            assert not await messages.first_time(tx, consumer="test", event_id=event_id)
            assert await messages.first_time(tx, consumer="other", event_id=event_id)

    async def test_only_one_of_many_hears_an_event_for_the_first_time(
        self, database: Database
    ) -> None:
        event_id = uuid4()

        async def hear() -> bool:
            async with database.transaction() as tx:
                return await messages.first_time(tx, consumer="test", event_id=event_id)

        assert sum(await asyncio.gather(*(hear() for _ in range(12)))) == 1


class TestMigrations:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (id int);")
        (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (id int);")
        (tmp_path / "notes.txt").write_text("not one of them")
        return tmp_path

    @pytest.fixture
    async def empty(self, postgres: PostgresSettings):
        database = await Database.connect(postgres, service="test")
        yield database
        await database.close()

    async def apply(self, database: Database, folder: Path) -> list[str]:
        async with database.connection() as connection:
            return await migrate(connection, read_migrations(folder))

    async def test_each_file_is_applied_once_in_order(self, empty: Database, folder: Path) -> None:
        assert await self.apply(empty, folder) == ["0001_first.sql", "0002_second.sql"]
        assert await self.apply(empty, folder) == []

        (folder / "0003_third.sql").write_text("ALTER TABLE second ADD name text;")
        assert await self.apply(empty, folder) == ["0003_third.sql"]

    async def test_when_several_start_at_once_each_file_is_applied_by_one(
        self, empty: Database, folder: Path
    ) -> None:
        outcomes = await asyncio.gather(*(self.apply(empty, folder) for _ in range(5)))

        assert sorted(outcomes) == [[], [], [], [], ["0001_first.sql", "0002_second.sql"]]

    async def test_a_file_that_was_changed_afterwards_is_refused(
        self, empty: Database, folder: Path
    ) -> None:
        await self.apply(empty, folder)
        (folder / "0001_first.sql").write_text("CREATE TABLE first (id bigint);")

        with pytest.raises(MigrationError, match=r"0001_first\.sql was changed"):
            await self.apply(empty, folder)

    @pytest.mark.parametrize("name", ["0004_gap.sql", "0002_again.sql", "third.sql", "0003-x.sql"])
    def test_a_gap_or_a_name_out_of_order_is_refused(self, folder: Path, name: str) -> None:
        (folder / name).write_text("SELECT 1;")

        with pytest.raises(MigrationError):
            read_migrations(folder)

    async def test_a_database_that_is_newer_than_the_program_is_refused(
        self, empty: Database, folder: Path
    ) -> None:
        await self.apply(empty, folder)
        (folder / "0002_second.sql").unlink()

        with pytest.raises(MigrationError, match="newer"):
            await self.apply(empty, folder)

    async def test_a_file_that_fails_leaves_nothing_and_can_be_mended(
        self, empty: Database, folder: Path
    ) -> None:
        third = folder / "0003_third.sql"
        third.write_text("CREATE TABLE third (id int); CREATE TABLE first (id int);")
        with pytest.raises(MigrationError, match=r"0003_third\.sql"):
            await self.apply(empty, folder)

        third.write_text("CREATE TABLE third (id int);")
        assert await self.apply(empty, folder) == ["0003_third.sql"]

    async def test_those_of_accounts_apply_and_repeat(self, empty: Database) -> None:
        await upgrade(empty)
        await upgrade(empty)

        async with empty.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
