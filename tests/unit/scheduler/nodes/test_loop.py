"""The node loop: what is written down first, what is refused, and what a successor makes of it."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_common.contracts.base import utc_now
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.leadership import EPOCH, FencedError, LeadershipLostError
from slipway_scheduler.nodes.base import (
    CloudBusyError,
    CloudRefusedError,
    CloudSilentError,
    Progress,
)
from slipway_scheduler.nodes.models import Asked, PoolStatus
from slipway_scheduler.nodes.records import Record
from support.kubernetes.faults import LoseAnswer
from unit.scheduler.nodes.making import spec
from unit.scheduler.nodes.world import MAPS, NODES, PODS, World


@pytest.fixture
async def world(tmp_path):
    async with World.run(tmp_path) as made:
        yield made


def ordered(world, *order):
    async def found() -> bool:
        return order in world.cloud.orders

    return world.soon(found, what=f"the order {order}")


class TestWrittenFirst:
    async def test_a_size_stands_in_the_record_before_the_cloud_is_asked(self, world):
        seen: list[Record] = []

        async def look() -> None:
            seen.append(await world.record())

        world.cloud.before_order = look
        await world.add_pod("s1")
        async with world.leading(4):
            await ordered(world, "size", 1)

        assert (seen[0].epoch, seen[0].wanted) == (4, 1)

    async def test_a_removal_stands_in_the_record_before_the_cloud_is_asked(self, world):
        seen: list[Record] = []

        async def look() -> None:
            seen.append(await world.record())

        world.cloud.before_order = look
        await world.add_node("a")
        async with world.leading():
            await ordered(world, "remove", ("a",))

        assert seen[0].leaving == ("a",)
        assert set(seen[0].removing) == {"a"}

    async def test_a_node_that_we_close_stands_in_the_record_first(self, world):
        closed_by: list[Record] = []
        await world.add_node("a")

        async def when_closed() -> bool:
            if await world.is_closed("a"):
                closed_by.append(await world.record())
                return True
            return False

        async with world.leading():
            await world.soon(when_closed, what="the cordon")

        assert closed_by[0].leaving == ("a",)


class TestFence:
    async def test_who_was_followed_can_order_nothing_more(self, world):
        async with world.leading(1) as (_, first):
            await world.claimed()
            async with world.leading(2):
                await world.claimed(by=2)
                orders = len(world.cloud.orders)
                await world.add_pod("s1")
                await asyncio.wait({first}, timeout=10)

        assert isinstance(first.exception(), FencedError)
        assert len([one for one in world.cloud.orders[orders:] if one[0] == "size"]) <= 1

    async def test_an_earlier_epoch_is_refused_at_the_start(self, world):
        await world.put_record(Record(epoch=9))

        async with world.leading(3) as (_, task):
            await asyncio.wait({task}, timeout=10)

        assert isinstance(task.exception(), FencedError)
        assert task.exception().epoch == 9

    async def test_a_record_that_was_spoilt_is_begun_anew_and_still_fences(self, world):
        await world.put_record(Record(epoch=5))
        spoilt = {"data": {"record.json": "{oops"}, "metadata": {"annotations": {EPOCH: "5"}}}
        await world.api.merge(MAPS, "slipway-node-pool-small", spoilt, rank=Rank.NODE)

        async with world.leading(4) as (_, task):
            await asyncio.wait({task}, timeout=10)
        assert isinstance(task.exception(), FencedError)
        async with world.leading(6):
            await world.claimed(by=6)

    async def test_a_record_that_was_deleted_ends_the_leadership(self, world):
        async with world.leading() as (_, task):
            await world.claimed()
            uid = json.loads(await world.api.get(MAPS, "slipway-node-pool-small"))["metadata"][
                "uid"
            ]
            await world.api.delete(MAPS, "slipway-node-pool-small", uid=uid, rank=Rank.NODE)
            await world.add_pod("s1")
            await asyncio.wait({task}, timeout=10)

        assert isinstance(task.exception(), LeadershipLostError)
        assert world.cloud.orders == []

    async def test_a_write_whose_answer_was_lost_costs_one_look(self, world):
        async with world.leading() as (_, task):
            await world.claimed()
            world.server.faults.plan(LoseAnswer(), verb="update", plural="configmaps")
            await world.add_pod("s1")
            await ordered(world, "size", 1)

            assert not task.done()


class TestSuccessor:
    async def test_goes_on_asking_about_what_the_cloud_is_doing(self, world):
        world.cloud.operation = "https://cloud/operations/1"
        await world.add_pod("s1")
        async with world.leading(1):
            await ordered(world, "size", 1)

            async def noted() -> bool:
                return (await world.record()).operation == world.cloud.operation

            await world.soon(noted, what="the note of the operation")

        async with world.leading(2):
            world.cloud.operations[world.cloud.operation] = Progress(over=True, problem="no quota")

            async def failed() -> bool:
                return (await world.record()).problem == "no quota"

            await world.soon(failed, what="the failure")

    async def test_asks_again_for_a_removal_that_may_never_have_been_asked(self, world):
        await world.add_node("a", closed=True)
        await world.put_record(
            Record(epoch=1, leaving=("a",), removing={"a": utc_now() - timedelta(hours=1)})
        )

        async with world.leading(2):
            await ordered(world, "remove", ("a",))

    async def test_takes_no_removal_back_that_may_have_been_asked(self, world):
        """The cloud may be carrying it out: a session that was sent there now would be lost."""
        await world.add_node("a", closed=True)
        await world.put_record(Record(epoch=1, leaving=("a",), removing={"a": utc_now()}))
        await world.add_pod("s1")

        async with world.leading(2):
            await ordered(world, "size", 2)

            assert await world.is_closed("a")

    async def test_finishes_a_return_that_was_begun(self, world):
        await world.add_node("a", closed=True)
        await world.put_record(Record(epoch=1, leaving=("a",), returning=("a",)))
        await world.add_pod("s1", node="a")

        async with world.leading(2):

            async def is_open() -> bool:
                record = await world.record()
                return not await world.is_closed("a") and not record.leaving

            await world.soon(is_open, what="the return")

    async def test_closes_a_node_whose_cordon_was_only_written_down(self, world):
        await world.add_node("a")
        await world.put_record(Record(epoch=1, leaving=("a",)))

        async with world.leading(2):
            await world.soon(lambda: world.is_closed("a"), what="the cordon")

    async def test_waits_for_the_pause_that_the_failure_before_it_has_set(self, world):
        retry_at = utc_now() + timedelta(minutes=5)
        await world.put_record(Record(epoch=1, failures=3, retry_at=retry_at, problem="no quota"))
        await world.add_pod("s1")

        async with world.leading(2) as (loop, _):
            await world.soon(lambda: "no quota" in loop.outlook.says("small"), what="the sentence")

        assert world.cloud.orders == []


class TestFailures:
    async def test_a_refusal_is_told_and_followed_by_a_pause(self, world):
        world.cloud.errors = [CloudRefusedError("QuotaExceeded: no more cores")]
        await world.add_pod("s1")

        async with world.leading() as (loop, _):
            await world.soon(
                lambda: "QuotaExceeded" in loop.outlook.says("small"), what="the sentence"
            )
            assert world.cloud.orders == [("size", 1)]

            world.later = timedelta(seconds=31)
            await world.soon(lambda: len(world.cloud.orders) == 2, what="the next try")
            await world.soon(lambda: not loop.outlook.says("small"), what="the end of the sentence")

    async def test_a_node_that_does_not_come_is_told_and_another_tried_after_a_pause(self, world):
        await world.add_pod("s1")
        async with world.leading() as (loop, _):
            await ordered(world, "size", 1)
            world.later = timedelta(seconds=61)
            await world.soon(
                lambda: "1 nodes did not come within 1 min" in loop.outlook.says("small"),
                what="the sentence",
            )
            world.later = timedelta(seconds=95)
            await ordered(world, "size", 2)

    async def test_a_failure_that_a_dead_leader_could_not_note_is_seen_at_the_pool(self, world):
        world.cloud.statuses["small"] = PoolStatus("small", target=1, failed="AllocationFailed")
        world.cloud.made["small"] = frozenset()
        await world.add_pod("s1")

        async with world.leading():
            await ordered(world, "size", 0)  # gives back what does not exist
            record = await world.record()

        assert record.problem == "AllocationFailed"
        assert record.failures == 1

    async def test_a_machine_that_never_became_a_node_goes_as_a_closed_node(self, world):
        world.cloud.statuses["small"] = PoolStatus("small", target=1)
        world.cloud.made["small"] = frozenset({"lost"})
        await world.put_record(Record(epoch=1, asked=(Asked(utc_now() - timedelta(minutes=2), 1),)))

        async with world.leading(2):
            await ordered(world, "remove", ("lost",))

            assert await world.is_closed("lost")

    async def test_a_busy_cloud_leaves_the_node_free_to_return(self, world):
        world.cloud.errors = [CloudBusyError("another operation")]
        await world.add_node("a")
        async with world.leading():
            await ordered(world, "remove", ("a",))
            await world.add_pod("s1")

            async def is_open() -> bool:
                return not await world.is_closed("a")

            await world.soon(is_open, what="the return")

    async def test_a_silent_cloud_may_have_done_it_so_there_is_no_way_back(self, world):
        world.cloud.errors = [CloudSilentError("no answer")]
        await world.add_node("a")
        async with world.leading():
            await ordered(world, "remove", ("a",))
            await world.add_pod("s1")
            world.later = timedelta(seconds=31)  # after the pause that follows silence
            await ordered(world, "size", 2)

            assert await world.is_closed("a")
            assert set((await world.record()).removing) == {"a"}


class TestLiveSessions:
    async def test_a_session_that_only_the_server_knows_of_keeps_its_node(self, world):
        await world.add_node("a")
        async with world.leading():
            await world.soon(lambda: world.is_closed("a"), what="the cordon")
            await world.refresh()
            await world.add_pod("late", node="a", refresh=False)
            await asyncio.sleep(1)  # the mirrors show nothing of it, and the settling is over

            assert world.cloud.orders == []
            assert (await world.record()).removing == {}

            async def is_open() -> bool:
                return not await world.is_closed("a")

            await world.soon(is_open, what="the return")

    async def test_an_operator_who_opens_a_node_meanwhile_keeps_it_from_being_removed(self, world):
        await world.add_node("a")
        async with world.leading():
            await world.soon(lambda: world.is_closed("a"), what="the cordon")
            await world.refresh()
            opened = {"spec": {"unschedulable": False}}
            await world.api.merge(NODES, "a", opened, rank=Rank.NODE)
            await asyncio.sleep(1)

        assert world.cloud.orders == []

    async def test_a_member_that_was_claimed_in_the_same_moment_stays(self, world):
        await world.add_node("a")
        await world.add_node("b")
        await world.add_pod("busy", node="b")
        await world.add_pod("member", role="member", node="a")
        claim = [
            {"op": "replace", "path": "/metadata/labels/slipway.dev~1role", "value": "session"}
        ]
        await world.api.patch(PODS, "member", claim, rank=Rank.NODE)

        async with world.leading():
            await asyncio.sleep(1.5)  # the mirror still shows a member, and it is told to move

        assert "member" in await world.names(PODS)
        assert world.cloud.orders == []

    async def test_a_member_that_waits_moves(self, world):
        await world.add_node("a")
        await world.add_node("b")
        await world.add_pod("busy", node="b")
        await world.add_pod("member", role="member", node="a")

        async with world.leading():

            async def told_to_end() -> bool:
                pod = json.loads(await world.api.get(PODS, "member"))["metadata"]
                return "deletionTimestamp" in pod and pod["labels"]["slipway.dev/role"] == "retired"

            await world.soon(told_to_end, what="the move")

    async def test_nothing_is_taken_away_by_old_mirrors(self, world):
        await world.add_node("a")
        world.pods.age_seconds = 500

        async with world.leading():
            await asyncio.sleep(1.5)

        assert not await world.is_closed("a")


class TestPlaceholders:
    async def test_they_are_made_and_made_again(self, tmp_path):
        kept = {"cpu": 1, "memory_mib": 1024, "count": 2}
        specs = (spec(placeholders=kept),)
        names = {"slipway-placeholder-small-0", "slipway-placeholder-small-1"}
        async with World.run(tmp_path, specs=specs) as world, world.leading():

            async def there() -> bool:
                return await world.names(PODS) == names

            await world.soon(there, what="both placeholders")
            pod = json.loads(await world.api.get(PODS, "slipway-placeholder-small-0"))
            await world.api.delete(
                PODS, "slipway-placeholder-small-0", uid=pod["metadata"]["uid"], rank=Rank.NODE
            )
            await world.soon(there, what="the one that was evicted")


class TestEstimate:
    async def test_every_scheduler_can_tell_by_what_the_leader_has_written(self, world):
        now = utc_now()
        await world.put_record(Record(epoch=1, boots=(60.0,), asked=(Asked(now, 1),)))
        follower = world.loop()

        assert follower.estimate("small", now) is None
        await follower.outlook.refresh()

        assert follower.estimate("small", now) == now + timedelta(seconds=60)
        assert follower.estimate(None, now) == now + timedelta(seconds=60)
        assert follower.estimate("unknown", now) is None

    async def test_boots_are_learned_from_nodes_that_come(self, world):
        await world.add_pod("s1")
        async with world.leading() as (loop, _):
            await ordered(world, "size", 1)
            world.cloud.statuses["small"] = replace(world.cloud.statuses["small"], target=0)
            await world.add_node("a")

            async def learned() -> bool:
                return len((await world.record()).boots) == 1

            await world.soon(learned, what="the first boot")
            assert loop.estimate("small", utc_now()) is not None
