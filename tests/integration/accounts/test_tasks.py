"""Tasks: started once, given to one session, kept through what the platform loses."""

import asyncio
from uuid import UUID, uuid4

import pytest

from integration.accounts.world import World, ended, failed, refused
from slipway_common.contracts.registry import SESSIONS_WANTED, TASKS
from slipway_common.contracts.sessions import EndReason
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import Principal, Progress
from slipway_common.postgres.database import Database

PROBLEM = {"type": "urn:slipway:problem:infeasible", "title": "No solution", "status": 422}


@pytest.fixture
async def ada(world: World) -> Principal:
    who = await world.account(limit=3)
    await world.publish_all(who)
    return who


async def take(world: World, session_id: UUID) -> UUID | None:
    assignment = await world.tasks.next_task(session_id, wait_seconds=0)
    return None if assignment is None else assignment.task_id


async def latest_session(world: World) -> UUID:
    return (await world.task_sessions())[-1]


class TestStart:
    async def test_the_same_key_finds_the_same_task(self, world: World, ada: Principal) -> None:
        views = await asyncio.gather(
            *(world.tasks.start(ada, world.task(key="once")) for _ in range(8))
        )

        assert len({view.id for view in views}) == 1
        assert len(await world.told(TASKS)) == 1
        assert len(await world.told(SESSIONS_WANTED)) == 1

    async def test_the_same_key_with_another_body_is_refused(
        self, world: World, ada: Principal
    ) -> None:
        await world.tasks.start(ada, world.task(key="once"))

        async with refused("idempotency-key-reused"):
            await world.tasks.start(ada, world.task(key="once", body='{"other": 1}'))

    async def test_a_service_or_app_that_is_not_there_is_refused_without_a_trace(
        self, world: World, ada: Principal
    ) -> None:
        async with refused("service-not-found"):
            await world.tasks.start(ada, world.task(service="unknown", key="once"))
        async with refused("app-not-found"):
            await world.tasks.start(ada, world.task(app="unknown", key="once"))
        assert await world.told(TASKS) == []
        assert await world.tasks.start(ada, world.task(key="once"))

    async def test_there_are_no_more_sessions_than_open_tasks_and_the_limit_holds(
        self, world: World, ada: Principal
    ) -> None:
        await asyncio.gather(*(world.tasks.start(ada, world.task()) for _ in range(6)))

        rows = await world.fetch("SELECT state FROM sessions WHERE kind = 'task'")
        assert sorted(row["state"] for row in rows) == ["starting"] * 3


class TestAssign:
    async def test_each_task_goes_to_exactly_one_of_20_sessions(self, world: World) -> None:
        who = await world.account("big", limit=20)
        await world.publish_all(who)
        started = [(await world.tasks.start(who, world.task())).id for _ in range(20)]
        sessions = await world.task_sessions()
        assert len(sessions) == 20

        taken = await asyncio.gather(*(take(world, session_id) for session_id in sessions))
        again = await asyncio.gather(*(take(world, session_id) for session_id in sessions))

        assert sorted(map(str, taken)) == sorted(map(str, started))
        assert again == taken

    async def test_a_session_that_asks_twice_at_once_holds_one_task(
        self, world: World, ada: Principal
    ) -> None:
        for _ in range(3):
            await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)

        taken = await asyncio.gather(*(take(world, session_id) for _ in range(8)))

        assert len(set(taken)) == 1
        rows = await world.fetch("SELECT id FROM tasks WHERE session_id = $1", session_id)
        assert len(rows) == 1

    async def test_a_session_that_ends_at_this_moment_gets_none(
        self, world: World, ada: Principal, postgres
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        elsewhere = await Database.connect(postgres, service="test")
        async with elsewhere.transaction() as tx:
            await tx.execute("UPDATE sessions SET state = 'ended' WHERE id = $1", session_id)
            asking = asyncio.create_task(world.tasks.next_task(session_id, wait_seconds=0))
            done, _ = await asyncio.wait({asking}, timeout=0.3)
            assert not done
        await elsewhere.close()

        async with refused("session-over"):
            await asking
        assert (await world.tasks.view(ada, task.id)).state is TaskState.QUEUED

    async def test_waiting_ends_as_soon_as_there_is_a_task(
        self, world: World, ada: Principal
    ) -> None:
        following = asyncio.create_task(world.changes.run())
        first = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        assert await take(world, session_id) == first.id
        await world.tasks.complete(session_id, first.id, "completed")

        waiting = asyncio.create_task(world.tasks.next_task(session_id, wait_seconds=20))
        second = await world.tasks.start(ada, world.task())
        async with asyncio.timeout(10):
            assignment = await waiting

        assert assignment is not None
        assert assignment.task_id == second.id
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    async def test_a_session_gets_tasks_of_its_own_app_only(
        self, world: World, ada: Principal
    ) -> None:
        await world.publish(ada, name="other")
        await world.tasks.start(ada, world.task())
        depots = await latest_session(world)
        other = await world.tasks.start(ada, world.task(app="other"))
        others = await latest_session(world)

        assert await take(world, others) == other.id
        assert await take(world, others) == other.id
        assert await take(world, depots) != other.id

    async def test_a_session_that_serves_pages_gets_none(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada)

        async with refused("not-found"):
            await take(world, session_id)
        async with refused("not-found"):
            await take(world, uuid4())


class TestLostSessions:
    async def test_a_task_whose_session_the_platform_lost_is_started_three_times(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        sessions = set()
        for attempt in (1, 2, 3):
            session_id = await latest_session(world)
            sessions.add(session_id)
            assert await take(world, session_id) == task.id, attempt
            await world.tasks.progress(session_id, task.id, Progress(fraction=0.5))
            event = failed(ada, session_id, EndReason.LOST, "The node is gone.")
            await world.sessions.on_over(event)
            await world.sessions.on_over(event)

        view = await world.tasks.view(ada, task.id)
        assert len(sessions) == 3
        assert view.state is TaskState.FAILED
        assert view.problem is not None
        assert view.problem["type"] == "urn:slipway:problem:task-session-lost"
        states = [body["state"] for _, body in await world.told(TASKS) if body]
        assert states == [
            "queued",
            *["assigned", "running", "queued"] * 2,
            "assigned",
            "running",
            "failed",
        ]

    async def test_a_task_that_no_session_lives_to_take_is_given_up_after_three(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        for _ in range(2):
            await world.sessions.on_over(
                failed(ada, await latest_session(world), EndReason.START_TIMEOUT)
            )
            assert (await world.tasks.view(ada, task.id)).state is TaskState.QUEUED

        await world.sessions.on_over(failed(ada, await latest_session(world), EndReason.LOST))

        assert (await world.tasks.view(ada, task.id)).state is TaskState.FAILED
        assert len(await world.task_sessions()) == 3

    @pytest.mark.parametrize("reason", [EndReason.APP_FAILED, EndReason.OUT_OF_MEMORY])
    async def test_what_the_app_does_wrong_is_final(
        self, world: World, ada: Principal, reason: EndReason
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        await take(world, session_id)

        await world.sessions.on_over(failed(ada, session_id, reason, "It crashed."))

        view = await world.tasks.view(ada, task.id)
        assert view.state is TaskState.FAILED
        assert view.problem is not None
        assert view.problem["detail"] == "It crashed."
        assert len(await world.task_sessions()) == 1

    async def test_an_app_that_cannot_be_started_fails_its_tasks_one_by_one(
        self, world: World, ada: Principal
    ) -> None:
        tasks = [await world.tasks.start(ada, world.task()) for _ in range(2)]

        for session_id in await world.task_sessions():
            await world.sessions.on_over(failed(ada, session_id, EndReason.APP_FAILED, "No module"))

        states = [(await world.tasks.view(ada, task.id)).state for task in tasks]
        assert states == [TaskState.FAILED] * 2
        assert len(await world.task_sessions()) == 2

    async def test_a_queued_task_gets_a_new_session_when_the_idle_one_has_ended(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        first = await latest_session(world)

        await world.sessions.on_over(ended(ada, first, EndReason.IDLE))

        second = await latest_session(world)
        assert second != first
        assert await take(world, second) == task.id


class TestInterrupt:
    async def test_a_queued_task_is_given_up_at_once(self, world: World, ada: Principal) -> None:
        task = await world.tasks.start(ada, world.task())

        view = await world.tasks.interrupt(ada, task.id, "solve")

        assert view.state is TaskState.FAILED
        assert await take(world, await latest_session(world)) is None
        async with refused("task-over"):
            await world.tasks.interrupt(ada, task.id, "solve")

    async def test_a_running_task_hears_of_it_with_its_next_progress(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        await take(world, session_id)
        first = await world.tasks.progress(session_id, task.id, None)

        await world.tasks.interrupt(ada, task.id, "execution")
        second = await world.tasks.progress(session_id, task.id, Progress(state="solving"))
        await world.tasks.complete(session_id, task.id, "interrupted")

        assert (first.interrupt, second.interrupt) == (None, "execution")
        view = await world.tasks.view(ada, task.id)
        assert (view.state, view.outcome) == (TaskState.COMPLETED, "interrupted")

    async def test_an_attempt_that_was_lost_takes_its_interrupt_with_it(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        await take(world, session_id)
        await world.tasks.interrupt(ada, task.id, "solve")

        await world.sessions.on_over(failed(ada, session_id, EndReason.LOST))

        again = await latest_session(world)
        assert await take(world, again) == task.id
        assert (await world.tasks.progress(again, task.id, None)).interrupt is None


class TestOutcome:
    async def test_only_the_session_that_holds_a_task_speaks_for_it(
        self, world: World, ada: Principal
    ) -> None:
        for _ in range(2):
            await world.tasks.start(ada, world.task())
        first, second = await world.task_sessions()
        task_id = await take(world, first)
        other_task = await take(world, second)
        assert task_id is not None
        assert other_task is not None

        for call in (
            world.tasks.complete(second, task_id, "completed"),
            world.tasks.fail(second, task_id, PROBLEM),
            world.tasks.progress(second, task_id, None),
        ):
            async with refused("task-over"):
                await call
        async with refused("not-found"):
            await world.tasks.held(second, task_id)
        assert (await world.tasks.view(ada, task_id)).state is TaskState.ASSIGNED

    async def test_a_session_that_lost_its_task_cannot_finish_it_any_more(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        lost = await latest_session(world)
        await take(world, lost)
        await world.sessions.on_over(failed(ada, lost, EndReason.LOST))
        again = await latest_session(world)
        assert await take(world, again) == task.id

        async with refused("task-over"):
            await world.tasks.complete(lost, task.id, "completed")
        await world.tasks.complete(again, task.id, "completed")

        assert (await world.tasks.view(ada, task.id)).session_id == again

    async def test_a_repeated_outcome_changes_nothing(self, world: World, ada: Principal) -> None:
        task = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        await take(world, session_id)

        await asyncio.gather(
            *(world.tasks.complete(session_id, task.id, "completed") for _ in range(5))
        )
        await world.tasks.fail(session_id, task.id, PROBLEM)

        view = await world.tasks.view(ada, task.id)
        assert (view.state, view.outcome, view.problem) == (TaskState.COMPLETED, "completed", None)
        states = [body["state"] for _, body in await world.told(TASKS) if body]
        assert states == ["queued", "assigned", "completed"]

    async def test_every_state_is_told_with_a_version_that_grows(
        self, world: World, ada: Principal
    ) -> None:
        task = await world.tasks.start(ada, world.task())
        session_id = await latest_session(world)
        await take(world, session_id)
        for state in ("running", "running", "solving", "running"):
            await world.tasks.progress(session_id, task.id, Progress(state=state, fraction=0.1))
        await world.tasks.fail(session_id, task.id, PROBLEM)

        told = [body for _, body in await world.told(TASKS) if body]
        states = [body["state"] for body in told]
        assert states == ["queued", "assigned", "running", "solving", "running", "failed"]
        versions = [body["version"] for body in told]
        assert versions == sorted(set(versions))
        assert told[-1]["problem_type"] == PROBLEM["type"]


async def test_what_is_another_accounts_or_another_users_is_not_there(
    world: World, ada: Principal
) -> None:
    eve = await world.account("evil")
    bob = await world.user(ada, "bob")
    task = await world.tasks.start(ada, world.task())

    for stranger in (eve, bob):
        async with refused("not-found"):
            await world.tasks.view(stranger, task.id)
        async with refused("not-found"):
            await world.tasks.interrupt(stranger, task.id, "solve")
        assert await world.tasks.list_tasks(stranger, limit=9, offset=0) == []
    async with refused("app-not-found"):
        await world.tasks.start(eve, world.task())
