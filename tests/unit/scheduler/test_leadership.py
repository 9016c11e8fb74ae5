"""One leads at a time, whatever hangs, fails or is lost on the way to the API server."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from slipway_scheduler.leadership import (
    EPOCH,
    Elector,
    FencedError,
    Leadership,
    LeadershipLostError,
)
from support.kubernetes.faults import LoseAnswer, LoseRequest, Refuse, Slow
from support.kubernetes.server import FakeApiServer
from support.waiting import eventually

DURATION = 2.0
LEASES = Resource("coordination.k8s.io/v1", "leases", "slipway")


@dataclass
class Reign:
    epoch: int
    start: float
    end: float | None = None


@dataclass
class Court:
    """What those who led have noted."""

    reigns: list[Reign] = field(default_factory=list)

    async def work(self, leadership: Leadership) -> None:
        reign = Reign(leadership.epoch, time.monotonic())
        self.reigns.append(reign)
        try:
            await asyncio.Event().wait()
        finally:
            reign.end = time.monotonic()

    @property
    def now(self) -> list[Reign]:
        return [reign for reign in self.reigns if reign.end is None]

    async def somebody_leads(self) -> Reign:
        async def found() -> Reign | None:
            return self.now[0] if self.now else None

        return await eventually(found, what="a leader", seconds=15)

    async def nobody_leads(self) -> None:
        async def none() -> bool:
            return not self.now

        await eventually(none, what="the end of the reign", seconds=15)

    def assert_one_at_a_time(self) -> None:
        for before, after in zip(self.reigns, self.reigns[1:], strict=False):
            assert before.end is not None
            assert before.end <= after.start
            assert before.epoch < after.epoch


@dataclass
class World:
    server: FakeApiServer
    stack: AsyncExitStack
    court: Court

    async def api(self, user: str = "scheduler") -> KubernetesApi:
        limiter = WriteLimiter(per_second=1000, burst=1000)
        return await KubernetesApi.open(self.server.kubeconfig(user), self.stack, limiter=limiter)

    async def elector(self, user: str = "scheduler") -> Elector:
        return Elector(
            await self.api(user),
            namespace="slipway",
            name="nodes",
            identity=user,
            duration=timedelta(seconds=DURATION),
            renew_every=timedelta(seconds=0.2),
            margin=timedelta(seconds=0.7),
            call_limit=timedelta(seconds=0.4),
        )

    @asynccontextmanager
    async def standing(self, user: str = "scheduler", work=None) -> AsyncIterator[asyncio.Task]:
        """Somebody who stands for election inside this block."""
        elector = await self.elector(user)
        task = asyncio.create_task(elector.run(work or self.court.work))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def lease(self) -> dict:
        return json.loads(await (await self.api()).get(LEASES, "nodes"))


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    async with FakeApiServer.run(tmp_path) as server, AsyncExitStack() as stack:
        made = World(server, stack, Court())
        api = await made.api()
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "slipway"}}
        await api.create(Resource("v1", "namespaces"), namespace, rank=Rank.NODE)
        yield made


async def test_one_leads_and_the_other_waits(world):
    async with world.standing("one"), world.standing("two"):
        reign = await world.court.somebody_leads()
        await asyncio.sleep(DURATION * 1.5)

        assert world.court.reigns == [reign]
    lease = await world.lease()
    assert lease["metadata"]["annotations"][EPOCH] == "1"


async def test_who_leaves_makes_room_at_once(world):
    async with world.standing("one"):
        await world.court.somebody_leads()
    assert (await world.lease())["spec"]["holderIdentity"] == ""
    left = time.monotonic()

    async with world.standing("two"):
        reign = await world.court.somebody_leads()

    assert reign.epoch == 2
    assert reign.start - left < DURATION / 2
    world.court.assert_one_at_a_time()


async def test_who_dies_is_waited_for_and_then_followed(world):
    async with world.standing("one") as first:
        await world.court.somebody_leads()
        world.server.faults.plan(
            Refuse(503), verb="update", plural="leases", user="one", times=None
        )
        first.cancel()
        await asyncio.wait({first})
        died = time.monotonic()

        async with world.standing("two"):
            reign = await world.court.somebody_leads()

    assert reign.start - died >= DURATION - 0.7
    world.court.assert_one_at_a_time()


@pytest.mark.parametrize(
    "effect", [Slow(30), LoseRequest(), Refuse(500), Refuse(429, retry_after="1")]
)
async def test_work_ends_before_another_may_begin_even_while_calls_hang(world, effect):
    async with world.standing("one"):
        await world.court.somebody_leads()
        world.server.faults.plan(effect, plural="leases", user="one", times=None)
        cut = time.monotonic()
        async with world.standing("two"):
            await world.court.nobody_leads()
            ended = time.monotonic()
            await world.court.somebody_leads()

    assert ended - cut < DURATION - 0.5
    world.court.assert_one_at_a_time()


async def test_work_that_takes_long_to_end_is_awaited_before_standing_again(world):
    ends: list[float] = []

    async def stubborn(leadership: Leadership) -> None:
        try:
            await world.court.work(leadership)
        finally:
            await asyncio.sleep(0.5)
            ends.append(time.monotonic())

    async with world.standing(work=stubborn):
        await world.court.somebody_leads()
        plan = world.server.faults.plan(LoseRequest(), plural="leases", times=None)
        await world.court.nobody_leads()
        plan.call_off()
        reign = await world.court.somebody_leads()

    assert ends[0] <= reign.start


async def test_an_error_in_the_work_gives_the_leadership_up_and_another_takes_it(world):
    failed = asyncio.Event()

    async def failing(_: Leadership) -> None:
        failed.set()
        raise RuntimeError("a bug")

    async with world.standing("one", work=failing):
        await failed.wait()
        async with world.standing("two"):
            reign = await world.court.somebody_leads()

    assert reign.epoch >= 2


async def test_an_error_in_the_work_is_followed_by_another_attempt(world):
    epochs: list[int] = []

    async def failing_once(leadership: Leadership) -> None:
        epochs.append(leadership.epoch)
        if len(epochs) == 1:
            raise RuntimeError("a bug")
        await world.court.work(leadership)

    async with world.standing(work=failing_once):
        await world.court.somebody_leads()

    assert epochs == [1, 2]


async def test_a_renewal_whose_answer_was_lost_costs_nothing(world):
    async with world.standing():
        await world.court.somebody_leads()
        plan = world.server.faults.plan(LoseAnswer(), verb="update", plural="leases", times=3)
        await plan.has_been_met(3)
        await asyncio.sleep(DURATION)

        assert [reign.epoch for reign in world.court.reigns] == [1]
        assert world.court.now


async def test_an_election_whose_answer_was_lost_is_won_under_the_next_epoch(world):
    world.server.faults.plan(LoseAnswer(), verb="create", plural="leases")

    async with world.standing():
        assert (await world.court.somebody_leads()).epoch == 2


async def test_a_lease_that_somebody_took_by_force_is_given_up(world):
    api = await world.api()
    async with world.standing():
        await world.court.somebody_leads()
        stolen = {"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 1}}
        await api.merge(LEASES, "nodes", stolen, rank=Rank.NODE)

        await world.court.nobody_leads()


async def test_a_lease_that_was_deleted_is_given_up_and_won_anew(world):
    api = await world.api()
    async with world.standing():
        await world.court.somebody_leads()
        uid = (await world.lease())["metadata"]["uid"]
        await api.delete(LEASES, "nodes", uid=uid, rank=Rank.NODE)

        await world.court.nobody_leads()
        await world.court.somebody_leads()


@pytest.mark.parametrize("bundled", [False, True])
async def test_an_epoch_that_was_lost_with_the_lease_is_made_up_for(world, bundled):
    """Whoever leads rightly must not stay fenced off by what an earlier lease had counted to."""
    epochs: list[int] = []

    async def fenced_once(leadership: Leadership) -> None:
        epochs.append(leadership.epoch)
        if leadership.epoch <= 7:
            error = FencedError("a record says 7", epoch=7)
            raise ExceptionGroup("of several works", [error]) if bundled else error
        await world.court.work(leadership)

    async with world.standing(work=fenced_once):
        await world.court.somebody_leads()

    assert epochs == [1, 8]


async def test_the_clock_of_the_other_is_not_asked(world):
    """A holder whose clock is wrong is still given the time that it has."""
    api = await world.api()
    body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "nodes", "namespace": "slipway"},
        "spec": {
            "holderIdentity": "other",
            "leaseDurationSeconds": 1,
            "renewTime": "2001-01-01T00:00:00.000000Z",
        },
    }
    await api.create(LEASES, body, rank=Rank.NODE)
    start = time.monotonic()

    async with world.standing():
        reign = await world.court.somebody_leads()

    assert reign.start - start >= DURATION


async def test_who_leads_no_more_may_do_nothing_more():
    leadership = Leadership(1, until=time.monotonic() - 0.01)

    with pytest.raises(LeadershipLostError):
        leadership.check()


async def test_never_two_at_a_time_over_a_bad_line(world):
    chance = random.Random(7)

    def unlucky(_: object) -> bool:
        return chance.random() < 0.4

    async with world.standing("one"), world.standing("two"), world.standing("three"):
        for effect in (LoseAnswer(), LoseRequest(), Slow(1.5)):
            plan = world.server.faults.plan(effect, plural="leases", times=None, when=unlucky)
            await asyncio.sleep(4)
            plan.call_off()
        await world.court.somebody_leads()
    await world.court.nobody_leads()

    assert world.court.reigns
    world.court.assert_one_at_a_time()
