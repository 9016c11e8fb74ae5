"""Sessions: asked for once, admitted under the limit, stopped in any state, granted once."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from integration.accounts.world import World, delivered, ended, failed, refused
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.contracts.sessions import (
    EndReason,
    SessionRunning,
    SessionStarting,
    StopRequested,
)
from slipway_common.contracts.views import LaunchRequest, SessionState

ACTIVE = {"starting", "running", "stopping"}
OVER = {"ended", "failed", "refused"}
SWEEP = {"requested_lifetime": timedelta(minutes=2), "forget_after": timedelta(days=8)}


async def highest_use(world: World) -> int:
    """The most sessions that were active at any instant of the story."""
    states: dict[UUID, str] = {}
    highest = 0
    for row in await world.fetch("SELECT session_id, state FROM session_transitions ORDER BY id"):
        assert states.get(row["session_id"]) not in OVER, "a session that is over came back"
        states[row["session_id"]] = row["state"]
        highest = max(highest, sum(state in ACTIVE for state in states.values()))
    return highest


async def counts(world: World) -> Counter[str]:
    rows = await world.fetch("SELECT state FROM sessions")
    return Counter(row["state"] for row in rows)


class TestLaunch:
    async def test_the_same_key_finds_the_same_session(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)

        ids = await asyncio.gather(*(world.ask(ada, key="once") for _ in range(10)))

        assert len(set(ids)) == 1
        assert await counts(world) == {"requested": 1}

    async def test_the_same_key_still_finds_it_when_latest_has_become_another_version(
        self, world: World
    ) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        first = await world.sessions.launch(ada, LaunchRequest(app="depots"), "once")
        await world.publish(ada, version="2.0.0")

        again = await world.sessions.launch(ada, LaunchRequest(app="depots"), "once")

        assert (again.session.id, again.version) == (first.session.id, "1.0.0")

    async def test_the_same_key_with_another_body_is_refused(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        await world.ask(ada, key="once")

        async with refused("idempotency-key-reused"):
            await world.sessions.launch(ada, LaunchRequest(app="depots", version="1.0.0"), "once")
        async with refused("idempotency-key-reused"):
            await world.tasks.start(ada, world.task(key="once"))
        assert await counts(world) == {"requested": 1}

    async def test_the_same_key_of_another_user_is_another_session(self, world: World) -> None:
        ada = await world.account()
        bob = await world.user(ada, "bob")
        await world.publish_all(ada)

        assert await world.ask(ada, key="once") != await world.ask(bob, key="once")

    async def test_an_app_without_its_runtime_cannot_be_launched(self, world: World) -> None:
        ada = await world.account()
        await world.publish(ada)

        async with refused("runtime-not-found"):
            await world.ask(ada)
        async with refused("app-not-found"):
            await world.sessions.launch(ada, LaunchRequest(app="unknown"), "key")
        assert await counts(world) == {}

    async def test_a_refused_launch_does_not_use_up_its_key(self, world: World) -> None:
        ada = await world.account()
        await world.publish(ada)
        async with refused("runtime-not-found"):
            await world.ask(ada, key="once")
        await world.publish_all(ada)

        assert await world.ask(ada, key="once")

    async def test_it_is_admitted_with_the_newest_hotfix_of_its_runtime(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        for number in ("1.0.10.1", "1.0.9.1", "1.1.0.1", "10.0.0.1"):
            await world.publish(ada, kind="runtime", name=f"{number}-linux64-x64", version=number)

        session_id = await world.launch(ada)

        [(key, wanted)] = await world.told(SESSIONS_WANTED)
        assert wanted is not None
        assert (key, wanted["runtime"]) == (str(session_id), "1.0.10.1-linux64-x64")

    async def test_a_launch_heard_twice_is_wanted_once(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        event = world.requested(ada, await world.ask(ada))

        await asyncio.gather(*(world.sessions.on_launch(event) for _ in range(5)))
        await world.sessions.on_launch(world.requested(ada, event.session_id))

        assert len(await world.told(SESSIONS_WANTED)) == 1
        assert await counts(world) == {"starting": 1}

    async def test_a_launch_that_was_never_confirmed_is_given_up(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.ask(ada)

        await world.sessions.sweep(requested_lifetime=timedelta(0), forget_after=timedelta(days=8))
        await world.sessions.on_launch(world.requested(ada, session_id))

        view = await world.sessions.view(ada, session_id)
        assert (view.state, view.reason) == (SessionState.FAILED, EndReason.LOST)
        assert await world.told(SESSIONS_WANTED) == []

    async def test_a_start_that_no_scheduler_has_begun_says_so_until_one_does(
        self, world: World
    ) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)
        await world.sessions.sweep(**SWEEP)
        assert (await world.sessions.view(ada, session_id)).message == "Starting"

        await world.fetch("UPDATE sessions SET admitted_at = now() - interval '1 minute'")
        await world.sessions.sweep(**SWEEP)
        assert "No scheduler has answered" in (await world.sessions.view(ada, session_id)).message

        await world.sessions.on_starting(
            SessionStarting(account_id=ada.account_id, session_id=session_id)
        )
        await world.sessions.sweep(**SWEEP)
        assert (await world.sessions.view(ada, session_id)).message == "Starting the session"

    async def test_it_is_known_where_one_runs_that_nobody_saw_being_placed(
        self, world: World
    ) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)

        await world.sessions.on_running(
            SessionRunning(
                account_id=ada.account_id,
                session_id=session_id,
                address="10.0.0.1:8080",
                unit="1",
                node="node-1",
            )
        )

        assert (await world.sessions.view(ada, session_id)).node == "node-1"


class TestLimit:
    @pytest.mark.parametrize("seed", range(3))
    async def test_of_200_launches_at_once_exactly_the_limit_is_admitted(
        self, world: World, seed: int
    ) -> None:
        ada = await world.account(limit=10)
        await world.publish_all(ada)
        slots = asyncio.Semaphore(12)

        async def ask() -> UUID:
            async with slots:
                return await world.ask(ada)

        ids = await asyncio.gather(*(ask() for _ in range(200)))
        events = [world.requested(ada, session_id) for session_id in ids]
        chaos = random.Random(seed)
        order = events + chaos.sample(events, 40)  # some are delivered twice
        chaos.shuffle(order)

        async def handle(event) -> None:
            async with slots:
                await delivered(lambda: world.sessions.on_launch(event))

        await asyncio.gather(*(handle(event) for event in order))

        assert await counts(world) == {"starting": 10, "queued": 190}
        assert len(await world.told(SESSIONS_WANTED)) == 10
        views = [await world.sessions.view(ada, session_id) for session_id in ids]
        positions = [view.queue_position for view in views if view.queue_position is not None]
        assert sorted(positions) == list(range(1, 191))
        assert await highest_use(world) == 10

    @pytest.mark.parametrize("seed", range(3))
    async def test_ends_stops_and_launches_in_any_order_never_pass_the_limit(
        self, world: World, seed: int
    ) -> None:
        ada = await world.account(limit=3)
        await world.publish_all(ada)
        chaos = random.Random(seed)
        ids = [await world.ask(ada) for _ in range(30)]
        slots = asyncio.Semaphore(10)
        steps = [
            lambda each=each: world.sessions.on_launch(each)
            for each in (world.requested(ada, session_id) for session_id in ids)
        ]
        steps += [lambda each=each: world.stop(ada, each) for each in chaos.sample(ids, 8)]
        chaos.shuffle(steps)

        async def run(step) -> None:
            async with slots:
                await delivered(step)

        await asyncio.gather(*(run(step) for step in steps))
        while open_now := await world.fetch(
            "SELECT id FROM sessions WHERE state IN ('starting', 'running', 'stopping')"
        ):
            batch = []
            for row in open_now:
                event = ended(ada, row["id"])
                batch += [lambda each=event: world.sessions.on_over(each)] * 3
                batch.append(lambda each=row["id"]: world.run(ada, each))
            chaos.shuffle(batch)
            await asyncio.gather(*(run(step) for step in batch))

        assert await highest_use(world) == 3
        assert await counts(world) == {"ended": 30}
        wanted = Counter(key for key, body in await world.told(SESSIONS_WANTED) if body)
        released = Counter(key for key, body in await world.told(SESSIONS_WANTED) if not body)
        assert wanted.keys() == released.keys()
        assert set(wanted.values()) == set(released.values()) == {1}

    async def test_an_end_lets_exactly_one_in_however_often_it_is_told(self, world: World) -> None:
        ada = await world.account(limit=2)
        await world.publish_all(ada)
        ids = [await world.launch(ada) for _ in range(6)]
        event = ended(ada, ids[0])

        await asyncio.gather(*(world.sessions.on_over(event) for _ in range(6)))
        await world.sessions.on_over(ended(ada, ids[0], EndReason.LOST))

        states = [await world.state(ada, session_id) for session_id in ids]
        assert states == ["ended", "starting", "starting", "queued", "queued", "queued"]
        views = [await world.sessions.view(ada, session_id) for session_id in ids[3:]]
        assert [view.queue_position for view in views] == [1, 2, 3]
        assert views[0].revision > 2  # whoever watches was told of the new position

    async def test_a_session_that_stops_keeps_its_place_until_nothing_of_it_runs(
        self, world: World
    ) -> None:
        ada = await world.account(limit=1)
        await world.publish_all(ada)
        first, second = await world.launch(ada), await world.launch(ada)

        await world.stop(ada, first)
        assert await world.state(ada, second) is SessionState.QUEUED
        await world.sessions.on_over(failed(ada, first, EndReason.LOST))

        assert await world.state(ada, first) is SessionState.ENDED
        assert await world.state(ada, second) is SessionState.STARTING

    async def test_without_a_queue_a_launch_above_the_limit_is_refused_at_once(
        self, world: World
    ) -> None:
        ada = await world.account(limit=1, queues=False)
        await world.publish_all(ada)
        await world.launch(ada)

        async with refused("session-limit-reached"):
            await world.ask(ada)

    async def test_without_a_queue_launches_that_raced_past_the_check_are_refused(
        self, world: World
    ) -> None:
        ada = await world.account(limit=2, queues=False)
        await world.publish_all(ada)
        ids = [await world.ask(ada) for _ in range(5)]

        await asyncio.gather(
            *(world.sessions.on_launch(world.requested(ada, session_id)) for session_id in ids)
        )

        assert await counts(world) == {"starting": 2, "refused": 3}
        assert await highest_use(world) == 2

    async def test_a_limit_of_nothing_admits_nothing(self, world: World) -> None:
        ada = await world.account(limit=0)
        await world.publish_all(ada)

        await world.launch(ada)

        assert await counts(world) == {"queued": 1}

    async def test_the_limits_of_two_accounts_are_independent(self, world: World) -> None:
        ada, other = await world.account("acme", limit=1), await world.account("other", limit=1)
        for who in (ada, other):
            await world.publish_all(who)
            await world.launch(who)

        assert await counts(world) == {"starting": 2}


class TestStop:
    async def test_before_it_was_confirmed_it_never_starts(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.ask(ada)

        await world.stop(ada, session_id)
        await world.sessions.on_launch(world.requested(ada, session_id))

        assert await world.state(ada, session_id) is SessionState.ENDED
        assert await world.told(SESSIONS_WANTED) == []

    async def test_in_the_queue_it_leaves_and_the_others_move_up(self, world: World) -> None:
        ada = await world.account(limit=1)
        await world.publish_all(ada)
        _, second, third = [await world.launch(ada) for _ in range(3)]

        await world.stop(ada, second)

        assert await world.state(ada, second) is SessionState.ENDED
        assert (await world.sessions.view(ada, third)).queue_position == 1

    @pytest.mark.parametrize("running", [False, True])
    async def test_once_admitted_it_is_taken_back_and_waited_for(
        self, world: World, running: bool
    ) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)
        if running:
            await world.run(ada, session_id)

        await world.stop(ada, session_id)
        await world.stop(ada, session_id)

        assert await world.state(ada, session_id) is SessionState.STOPPING
        told = await world.told(SESSIONS_WANTED)
        assert [body is None for _, body in told] == [False, True]
        await world.run(ada, session_id)
        assert await world.state(ada, session_id) is SessionState.STOPPING
        await world.sessions.on_over(ended(ada, session_id, EndReason.STOPPED))
        view = await world.sessions.view(ada, session_id)
        assert (view.state, view.reason) == (SessionState.ENDED, EndReason.STOPPED)
        assert len(await world.told(SESSIONS_WANTED)) == 2

    async def test_after_its_end_nothing_changes(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)
        await world.sessions.on_over(failed(ada, session_id, EndReason.APP_FAILED, "no"))
        before = await world.sessions.view(ada, session_id)

        await world.stop(ada, session_id)
        await world.run(ada, session_id)
        await world.sessions.on_over(ended(ada, session_id))

        assert await world.sessions.view(ada, session_id) == before

    async def test_a_stop_that_takes_too_long_is_said_again(self, world: World) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)
        await world.stop(ada, session_id)
        await world.fetch("UPDATE sessions SET stopping_at = now() - interval '1 minute'")

        await world.sessions.sweep(
            requested_lifetime=timedelta(minutes=2), forget_after=timedelta(days=8)
        )

        told = await world.told(SESSIONS_WANTED)
        assert [(key, body is None) for key, body in told] == [
            (str(session_id), False),
            (str(session_id), True),
            (str(session_id), True),
        ]


class TestForgedEvents:
    """An event that names another account than the session's is not believed."""

    async def test_nothing_about_a_session_changes_in_another_accounts_name(
        self, world: World
    ) -> None:
        ada, eve = await world.account("acme"), await world.account("evil")
        await world.publish_all(ada)
        asked = await world.ask(ada)
        starting, running = await world.launch(ada), await world.launch(ada)
        await world.run(ada, running)
        before = {each: await world.sessions.view(ada, each) for each in (asked, starting, running)}

        await world.sessions.on_launch(world.requested(eve, asked))
        for each in (asked, starting, running):
            await world.sessions.on_stop(
                StopRequested(account_id=eve.account_id, session_id=each, requested_by=eve.user_id)
            )
            await world.sessions.on_over(failed(eve, each))
            await world.sessions.on_starting(
                SessionStarting(account_id=eve.account_id, session_id=each)
            )
            await world.sessions.on_running(
                SessionRunning(
                    account_id=eve.account_id, session_id=each, address="6.6.6.6:1", unit="evil"
                )
            )

        after = {each: await world.sessions.view(ada, each) for each in (asked, starting, running)}
        assert after == before
        assert (await world.sessions.route(running)).unit == "unit"

    async def test_events_about_sessions_that_nobody_knows_change_nothing(
        self, world: World
    ) -> None:
        ada = await world.account()

        await world.sessions.on_launch(world.requested(ada, uuid4()))
        await world.run(ada, uuid4())
        await world.stop(ada, uuid4())
        await world.sessions.on_over(ended(ada, uuid4()))

        assert await counts(world) == {}
        assert await world.told(SESSIONS_WANTED) == []


class TestTickets:
    async def running(self, world: World) -> tuple:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)
        await world.run(ada, session_id)
        return ada, session_id

    async def test_exactly_one_of_100_callers_redeems_it(self, world: World) -> None:
        ada, session_id = await self.running(world)
        ticket = await world.sessions.issue_ticket(ada, session_id)
        slots = asyncio.Semaphore(14)

        async def redeem() -> str:
            async with slots:
                return await world.sessions.redeem_ticket(session_id, ticket.secret)

        outcomes = await asyncio.gather(*(redeem() for _ in range(100)), return_exceptions=True)

        assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
        slugs = {outcome.slug for outcome in outcomes if not isinstance(outcome, str)}
        assert slugs == {"ticket-invalid"}

    async def test_it_opens_no_other_session_and_stays_good_for_its_own(self, world: World) -> None:
        ada, session_id = await self.running(world)
        other = await world.launch(ada)
        await world.run(ada, other, unit="other")
        ticket = await world.sessions.issue_ticket(ada, session_id)

        async with refused("ticket-invalid"):
            await world.sessions.redeem_ticket(other, ticket.secret)
        assert await world.sessions.redeem_ticket(session_id, ticket.secret)

    async def test_it_expires(self, world: World) -> None:
        ada, session_id = await self.running(world)
        ticket = await world.sessions.issue_ticket(ada, session_id)
        await world.fetch("UPDATE tickets SET expires_at = now()")

        async with refused("ticket-invalid"):
            await world.sessions.redeem_ticket(session_id, ticket.secret)

    async def test_it_is_only_for_whoever_launched_a_session_that_runs(self, world: World) -> None:
        ada, session_id = await self.running(world)
        bob = await world.user(ada, "bob")
        eve = await world.account("evil")
        bobs, over = await world.launch(bob), await world.launch(ada)
        await world.sessions.on_over(ended(ada, over))

        async with refused("not-found"):
            await world.sessions.issue_ticket(bob, session_id)
        async with refused("not-found"):
            await world.sessions.issue_ticket(eve, session_id)
        async with refused("forbidden"):
            await world.sessions.issue_ticket(ada, bobs)
        async with refused("session-not-ready"):
            await world.sessions.issue_ticket(bob, bobs)
        async with refused("session-over"):
            await world.sessions.issue_ticket(ada, over)


class TestClaim:
    async def test_only_the_first_runner_is_granted_the_packages_and_may_ask_again(
        self, world: World
    ) -> None:
        ada = await world.account()
        await world.publish_all(ada)
        session_id = await world.launch(ada)
        runners = [uuid4() for _ in range(10)]

        outcomes = await asyncio.gather(
            *(world.sessions.claim(session_id, runner) for runner in runners),
            return_exceptions=True,
        )

        [winner] = [i for i, each in enumerate(outcomes) if not isinstance(each, BaseException)]
        assert await world.sessions.claim(session_id, runners[winner]) == outcomes[winner]
        async with refused("grant-used"):
            await world.sessions.claim(session_id, runners[winner - 1])
        assert outcomes[winner].app.name == "depots"
        assert outcomes[winner].account_id == ada.account_id

    async def test_a_session_that_is_not_starting_grants_nothing(self, world: World) -> None:
        ada = await world.account(limit=1)
        await world.publish_all(ada)
        first, queued = await world.launch(ada), await world.launch(ada)
        await world.stop(ada, first)

        for session_id in (first, queued, uuid4()):
            async with refused("grant-used"):
                await world.sessions.claim(session_id, uuid4())


class TestForeigners:
    async def test_what_is_another_accounts_or_another_users_is_not_there(
        self, world: World
    ) -> None:
        ada, eve = await world.account("acme"), await world.account("evil")
        bob = await world.user(ada, "bob")
        await world.publish_all(ada)
        session_id = await world.launch(ada)

        for stranger in (eve, bob):
            async with refused("not-found"):
                await world.sessions.view(stranger, session_id)
            async with refused("not-found"):
                await world.sessions.issue_ticket(stranger, session_id)
            assert (
                await world.sessions.list_sessions(stranger, open_only=False, limit=9, offset=0)
                == []
            )
        async with refused("app-not-found"):
            await world.ask(eve)
        bobs = await world.launch(bob)
        assert (await world.sessions.view(ada, bobs)).user == "bob"
