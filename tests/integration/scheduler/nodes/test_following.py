"""Nodes follow demand on a real control plane: they come, serve, and go, and nobody is hurt."""

import asyncio
import random

from slipway_common.contracts.base import utc_now
from slipway_scheduler.kubernetes.api import Resource
from slipway_scheduler.kubernetes.limits import Rank
from support.waiting import eventually


async def test_nodes_come_for_sessions_and_go_after_them(ground):
    names = [f"s{number}" for number in range(9)]
    async with ground.following() as (_, cloud):
        for name in names:
            await ground.add_session(name)
        await ground.runs(*names)
        assert len(ground.pool_nodes()) == 3
        assert max(cloud.sizes) == 3

        for name in names:
            await ground.end(name)
        await ground.size_is(0)

    assert cloud.lost == []
    assert len(set(cloud.removed)) == 3


async def test_no_node_is_removed_under_a_session_while_they_come_and_go(ground):
    """Sessions come back at any moment of a node's leaving, from the cordon to the removal."""
    chance = random.Random(11)
    alive: list[str] = []
    async with ground.following(boot=1) as (_, cloud):
        for round_ in range(6):
            for number in range(chance.randint(3, 8)):
                alive.append(f"s{round_}-{number}")
                await ground.add_session(alive[-1])
            await ground.runs(*alive)
            chance.shuffle(alive)
            while len(alive) > 1:
                await ground.end(alive.pop())
            before = len(cloud.removed)

            async def leaves(before: int = before) -> bool:
                record = await ground.record()
                return bool(record["leaving"]) or len(cloud.removed) > before

            if len(ground.pool_nodes()) > 1:
                await eventually(leaves, what="a node that leaves", seconds=60)
            await asyncio.sleep(chance.uniform(0, 2.5))
        kept = {name: await ground.node_of(name) for name in alive}
        assert set(kept.values()) <= set(ground.pool_nodes())
        for name in alive:
            await ground.end(name)
        await ground.size_is(0)

    assert cloud.lost == []
    assert cloud.removed


async def test_a_smallest_size_and_spare_nodes_are_kept(ground):
    async with ground.following(minimum=1, spare=1) as (_, cloud):
        await ground.size_is(1)
        await ground.add_session("s")
        await ground.runs("s")
        await ground.size_is(2)
        await ground.end("s")
        await ground.size_is(1)

    assert cloud.lost == []


async def test_the_next_session_takes_a_placeholders_room_and_a_node_comes_for_that(ground):
    kept = {"cpu": 1, "memory_mib": 512, "count": 4}
    names = [f"slipway-placeholder-{ground.pool}-{number}" for number in range(4)]
    async with ground.following(boot=15, placeholders=kept) as (_, cloud):
        await ground.runs(*names)
        (node,) = ground.pool_nodes()

        began = utc_now()
        await ground.add_session("s")
        await ground.runs("s")
        waited = (utc_now() - began).total_seconds()
        assert await ground.node_of("s") == node
        assert waited < 15  # nobody waited for a boot

        await ground.runs(*names)
        assert cloud.sizes == [1, 2]


async def test_a_waiting_member_moves_off_a_node_that_nothing_else_needs(ground):
    sessions = [f"s{number}" for number in range(4)]
    async with ground.following() as (_, cloud):
        for name in sessions:
            await ground.add_session(name)
        await ground.runs(*sessions)
        await ground.add_session("member", role="member")
        await ground.runs("member")
        await ground.size_is(2)
        home = await ground.node_of("member")

        await ground.end("s0")  # now there is room for the member beside the other sessions
        await ground.size_is(1)

    assert cloud.removed == [home]
    assert cloud.lost == []


async def test_estimates_are_learned_from_nodes_that_came(ground):
    async with ground.following(boot=3) as (loop, _):
        assert loop.estimate(ground.pool, utc_now()) is None
        await ground.add_session("first")
        await ground.runs("first")

        async def learned() -> bool:
            return bool((await ground.record())["boots"])

        await eventually(learned, what="the first boot")
        (took,) = (await ground.record())["boots"]
        assert 3 <= took <= 30
        for number in range(4):
            await ground.add_session(f"s{number}")

        async def asked() -> bool:
            return bool((await ground.record())["asked"])

        await eventually(asked, what="the next node")
        now = utc_now()
        expected = loop.estimate(ground.pool, now)
        assert expected is not None
        assert 0 < (expected - now).total_seconds() <= took + 1


async def test_nodes_that_never_boot_are_told_given_up_and_replaced(ground):
    async with ground.following(boot=100_000, maximum=2) as (loop, _):
        await ground.add_session("s")

        async def told() -> bool:
            return "did not come within" in loop.outlook.says(ground.pool)

        await eventually(told, what="the sentence", seconds=90)
        record = await ground.record()
        assert record["failures"] == 1
        assert record["retry_at"] is not None
        stuck = ground.pool_nodes()

    async with ground.following(boot=1, maximum=2) as (_, cloud):
        await ground.runs("s")
        for name in stuck:
            if name not in ground.pool_nodes():
                continue

            async def gone(name: str = name) -> bool:
                return name not in ground.pool_nodes()

            await eventually(gone, what="the end of a node that never booted", seconds=90)
        record = await ground.record()
        assert record["failures"] == 0
        assert cloud.lost == []


async def test_a_node_that_an_operator_closed_is_left_alone(ground):
    async with ground.following() as (_, cloud):
        await ground.add_session("s")
        await ground.runs("s")
        node = await ground.node_of("s")
        closed = {"spec": {"unschedulable": True}}
        await ground.api.merge(Resource("v1", "nodes"), node, closed, rank=Rank.NODE)
        await ground.end("s")
        await ground.add_session("next")
        await ground.runs("next")
        assert await ground.node_of("next") != node
        await ground.end("next")
        await ground.size_is(1)

    assert node in ground.pool_nodes()
    assert node not in cloud.removed
