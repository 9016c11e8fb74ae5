"""A mirror of a real API server: through its death, its forgetting, and its busiest moments, it
ends up as the server is, and has told each change once.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from slipway_scheduler.kubernetes.api import Connection, Resource
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.kubernetes.reflector import Reflector
from support.kubernetes.asking import pod
from support.kubernetes.real import ControlPlane, control_plane
from support.waiting import eventually

PODS = Resource("v1", "pods", "default")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        yield running


class Mirror:
    def __init__(self, connection: Connection) -> None:
        self.reflector: Reflector[Pod] = Reflector(connection, PODS, Pod, on_change=self._note)
        self.alive: dict[str, str] = {}
        """Name → uid, by nothing but what was told."""

        self.changes = 0

    def _note(self, before: Pod | None, after: Pod | None) -> None:
        self.changes += 1
        if before is None:
            assert after is not None
            assert after.metadata.name not in self.alive
        else:
            assert self.alive.pop(before.metadata.name) == before.metadata.uid
        if after is not None:
            self.alive[after.metadata.name] = after.metadata.uid


@pytest.fixture
async def connection(real: ControlPlane) -> AsyncIterator[Connection]:
    opened = await Connection.open(real.kubeconfig, connections=16)
    yield opened
    await opened.close()


@pytest.fixture
async def mirror(connection: Connection) -> AsyncIterator[Mirror]:
    mirror = Mirror(connection)
    running = asyncio.create_task(mirror.reflector.run())
    async with asyncio.timeout(30):
        await mirror.reflector.synced.wait()
    yield mirror
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def create(connection: Connection, *names: str) -> None:
    await asyncio.gather(
        *(connection.request("POST", PODS.path(), body=pod(name)) for name in names)
    )


async def delete(connection: Connection, *names: str) -> None:
    await asyncio.gather(*(connection.request("DELETE", PODS.path(name)) for name in names))


async def is_in_step(mirror: Mirror, names: set[str]) -> None:
    async def look() -> bool:
        return set(mirror.reflector.objects) == names

    await eventually(look, seconds=60, what=f"a mirror of {len(names)} pods")
    assert set(mirror.alive) == names


async def test_it_follows_through_deaths_of_the_server_and_its_forgetting(
    mirror: Mirror, connection: Connection, real: ControlPlane
) -> None:
    names = {f"first-{number}" for number in range(60)}
    await create(connection, *names)
    await is_in_step(mirror, names)

    for round_ in range(2):
        gone = set(sorted(names)[:10])
        new = {f"round-{round_}-{number}" for number in range(10)}
        await asyncio.to_thread(real.kill_api_server)
        await asyncio.to_thread(real.start_api_server)
        await delete(connection, *gone)
        await create(connection, *new)
        await real.forget()
        names = names - gone | new
        await is_in_step(mirror, names)

    await delete(connection, *names)
    await is_in_step(mirror, set())


async def test_it_follows_a_hundred_pods_that_come_and_go_at_once(
    mirror: Mirror, connection: Connection
) -> None:
    async def life(name: str) -> None:
        await create(connection, name)
        await connection.request(
            "PATCH",
            PODS.path(name),
            body={"metadata": {"labels": {"k": "v"}}},
            content_type="application/merge-patch+json",
        )
        await delete(connection, name)

    await asyncio.gather(*(life(f"brief-{number}") for number in range(100)))
    await create(connection, "last")

    await is_in_step(mirror, {"last"})
    # Made, labelled, marked and removed: four each, and the last one.
    assert mirror.changes == 401
    await delete(connection, "last")
