"""Real parts for tests: an address in the environment, or a local server, or a container.

They are started once per session, and each test gets a corner of its own in them. Nothing is
skipped: what cannot be started fails the test that needs it.
"""

import os
import signal
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

# Its plugin asks for it at the very end of a run; imported there, pytest would still rewrite it.
import hypothesis  # noqa: F401
import pytest

from slipway_common.blobs.store import BlobStore
from slipway_common.settings import KafkaSettings, PostgresSettings
from slipway_local.stack import Stack
from support.containers import Containers
from support.running import RunningStack
from support.waiting import eventually

CONTAINERS = "SLIPWAY_TEST_CONTAINERS"
"""Set to 1 to take Kafka, PostgreSQL and Azurite from container images instead."""


# A shell that runs us in the background lets us ignore what Ctrl-C sends, and our children too,
# whose answer to it is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW_FIRST = ("e2e_cluster", "e2e", "integration")
"""What takes long begins early, so that no process is left with it when the others are done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return SLOW_FIRST.index(folder) if folder in SLOW_FIRST else len(SLOW_FIRST)

    items.sort(key=turn)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make what hostile tests print fit to be sent from one process to another."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "replace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers | None]:
    if os.environ.get(CONTAINERS) != "1":
        yield None
        return
    with Containers() as running:
        os.environ.update(running.addresses())
        yield running


@pytest.fixture(scope="session")
def parts(
    tmp_path_factory: pytest.TempPathFactory, containers: Containers | None
) -> Iterator[RunningStack]:
    """Kafka, PostgreSQL and Azurite, without any service of ours."""
    folder = tmp_path_factory.mktemp("parts", numbered=True)
    running = RunningStack(Stack(folder / "state", services=(), fsync=False))
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def postgres(parts: RunningStack) -> AsyncIterator[PostgresSettings]:
    """An empty database of the test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    base = parts.stack.postgres_dsn
    administrator = await asyncpg.connect(base)
    await administrator.execute(f'CREATE DATABASE "{name}"')
    dsn = urlsplit(base)._replace(path=f"/{name}").geturl()
    yield PostgresSettings.model_validate({"dsn": dsn})

    async def is_dropped() -> bool:
        try:
            await administrator.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        except asyncpg.InsufficientPrivilegeError:
            return False  # a worker of the server itself is in there, and will leave
        return True

    await eventually(is_dropped, what="the end of the test's database")
    await administrator.close()


@pytest.fixture
def kafka(parts: RunningStack) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=parts.stack.kafka_bootstrap)


@pytest.fixture
async def blobs(parts: RunningStack) -> AsyncIterator[BlobStore]:
    store = BlobStore(parts.stack.blob_connection)
    yield store
    await store.close()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parent.parent
