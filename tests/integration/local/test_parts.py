"""Each part for real: it starts, dies, comes back, and has kept what it was given."""

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from azure.storage.blob.aio import BlobServiceClient

from slipway_local.errors import PartError


@asynccontextmanager
async def administrator(bootstrap: str):
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    yield client
    await client.close()


class TestPostgres:
    @pytest.fixture
    async def stack(self, new_stack):
        stack = new_stack(parts=["postgres"])
        await stack.start()
        return stack

    async def test_keeps_rows_over_a_kill_and_a_restart(self, stack) -> None:
        dsn = stack.postgres_dsn
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE kept (number int)")
        await connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")

        await stack.kill("postgres")
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            await connection.fetchval("SELECT 1")
        await stack.restart("postgres")

        assert stack.postgres_dsn == dsn
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT count(*) FROM kept") == 1000
        await connection.close()

    async def test_starts_over_the_lock_of_a_server_that_nobody_waited_for(self, stack) -> None:
        await stack.kill("postgres")
        data = stack.state.read().postgres_folder / "data"
        stranger = await asyncio.create_subprocess_exec("sleep", "600", user=data.stat().st_uid)
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n")

        await stack.restart("postgres")

        assert stranger.returncode is None
        stranger.kill()
        await stranger.wait()

    async def test_lets_its_owner_make_databases_but_not_rule(self, stack) -> None:
        connection = await asyncpg.connect(stack.postgres_dsn)

        await connection.execute("CREATE DATABASE another")

        assert await connection.fetchval("SHOW is_superuser") == "off"
        await connection.close()
        administrator = await asyncpg.connect(stack.part("postgres").admin_dsn)
        assert await administrator.fetchval("SHOW is_superuser") == "on"
        await administrator.close()

    async def test_asks_for_a_password_and_tells_none(self, stack) -> None:
        password = stack.secrets.postgres_password.read_text()
        dsn = stack.postgres_dsn

        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(dsn.partition("?")[0], password="another")
        assert password not in dsn
        assert password not in stack.log("postgres").read_text()

    async def test_never_runs_as_root(self, stack) -> None:
        owner = psutil.Process(stack.part("postgres").pid).uids().real

        assert owner != 0
        assert os.geteuid() in {0, owner}


class TestKafka:
    async def test_serves_a_group_at_once_and_keeps_records_over_a_kill(self, new_stack) -> None:
        stack = new_stack(parts=["kafka"])
        await stack.start()
        bootstrap = stack.kafka_bootstrap
        async with administrator(bootstrap) as admin:
            await admin.create_topics([NewTopic("kept", 1, 1)])
            await admin.describe_topics(["misspelt"])
            assert "misspelt" not in await admin.list_topics()
        async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
            for number in range(100):
                await producer.send("kept", str(number).encode())

        await stack.kill("kafka")
        await stack.restart("kafka")

        assert stack.kafka_bootstrap == bootstrap
        async with AIOKafkaConsumer(
            "kept",
            bootstrap_servers=bootstrap,
            group_id="readers",
            auto_offset_reset="earliest",
        ) as consumer:
            records = [await anext(consumer) for _ in range(100)]
        assert [int(record.value) for record in records] == list(range(100))


class TestAzurite:
    async def test_keeps_blobs_over_a_stop_and_over_a_kill(
        self, new_stack, until, state_folder: Path
    ) -> None:
        stack = new_stack(parts=["azurite"])
        await stack.start()
        connection = stack.blob_connection
        assert stack.secrets.blob_connection.read_text() == connection
        index = state_folder / "azurite" / "__azurite_db_blob__.json"

        async with BlobServiceClient.from_connection_string(connection) as client:
            container = client.get_container_client("kept")
            await container.create_container()
            await container.upload_blob("stopped", b"before a stop")
            await stack.restart("azurite")
            await container.upload_blob("killed", b"before a kill")
            await until(lambda: "killed" in index.read_text())
            await stack.kill("azurite")
            await stack.restart("azurite")

            assert stack.blob_connection == connection
            for name in ("stopped", "killed"):
                blob = await container.download_blob(name)
                assert await blob.readall() == f"before a {name[:4]}".encode()


async def test_part_says_who_is_to_blame_for_a_taken_port(new_stack) -> None:
    stack = new_stack(parts=["postgres"])
    await stack.start()
    await stack.kill("postgres")

    with (
        socket.create_server(("127.0.0.1", stack.part("postgres").port)),
        pytest.raises(PartError, match="is taken by another program"),
    ):
        await stack.restart("postgres")


async def test_no_argument_and_no_log_holds_a_secret(new_stack, fake, family) -> None:
    stack = new_stack(parts=["postgres", "azurite"], services=[fake("first")])
    await stack.start()

    secrets = [
        line
        for path in stack.secrets.folder.iterdir()
        if path.is_file()
        for line in path.read_text().splitlines()
        if not line.startswith("-----")
    ]
    shown = [
        " ".join(psutil.Process(identity.pid).cmdline()) for identity in family(os.getpid())
    ] + [stack.log(name).read_text() for name in stack.names]

    assert len(secrets) > 10
    assert not [text for text in shown if any(secret in text for secret in secrets)]
