"""The way of a session to its start, told step by step, and each end of it with its place back."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from integration.accounts.world import World, ended, failed
from slipway_accounts.offers import Offers, ServiceOffer
from slipway_common.contracts.reasons import PLATFORM_FAULTS
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.contracts.sessions import (
    EndReason,
    SessionFailed,
    SessionKind,
    SessionStage,
    SessionStarting,
)
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import Principal, SessionState

SOON = datetime.now(tz=UTC).replace(microsecond=0) + timedelta(minutes=2)
FAILURES = sorted(
    set(EndReason) - {EndReason.STOPPED, EndReason.FINISHED, EndReason.IDLE, EndReason.TIME_LIMIT}
)


@pytest.fixture
async def ada(world: World) -> Principal:
    world.offer(
        Offers(services={"notebooks": ServiceOffer(title="Notebooks", image="x:1", port=8080)})
    )
    who = await world.account(limit=1)
    await world.publish_all(who)
    return who


class TestSteps:
    async def test_each_is_shown_while_it_lasts_and_stays_in_the_story(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada)

        await world.progress(
            ada, session_id, SessionStage.WAITING_FOR_NODE, "No room", expected_at=SOON
        )
        waiting = await world.sessions.view(ada, session_id)
        await world.progress(ada, session_id, SessionStage.PLACED, "Placed", node="pool-1")
        await world.progress(ada, session_id, SessionStage.PULLING_IMAGE, "Pulling")
        pulling = await world.sessions.view(ada, session_id)
        await world.run(ada, session_id)
        running = await world.sessions.view(ada, session_id)

        assert (waiting.stage, waiting.message) == (SessionStage.WAITING_FOR_NODE, "No room")
        assert (waiting.expected_at, waiting.node) == (SOON, None)
        assert (pulling.stage, pulling.node) == (SessionStage.PULLING_IMAGE, "pool-1")
        assert pulling.expected_at is None
        assert (running.stage, running.expected_at, running.message) == (None, None, "")
        assert running.node == "pool-1"
        told = [(step.stage, step.message) for step in running.steps if step.stage]
        assert told == [
            (SessionStage.WAITING_FOR_NODE, "No room"),
            (SessionStage.PLACED, "Placed"),
            (SessionStage.PULLING_IMAGE, "Pulling"),
        ]

    async def test_whoever_watches_is_told_of_each(self, world: World, ada: Principal) -> None:
        session_id = await world.launch(ada)
        before = (await world.sessions.view(ada, session_id)).revision

        await world.progress(ada, session_id, SessionStage.PLACED, "Placed")

        assert (await world.sessions.view(ada, session_id)).revision > before

    async def test_a_repetition_of_earlier_steps_does_not_undo_later_ones(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada)
        events = [
            await world.progress(ada, session_id, stage, stage.value)
            for stage in (SessionStage.PLACED, SessionStage.CONTAINER_STARTED)
        ]
        before = await world.sessions.view(ada, session_id)

        for event in events:
            await world.sessions.on_progress(event)

        assert await world.sessions.view(ada, session_id) == before

    async def test_what_comes_later_than_the_runners_own_words_does_not_replace_them(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada)
        await world.progress(ada, session_id, SessionStage.WAITING_FOR_NODE, expected_at=SOON)
        await world.sessions.claim(session_id, uuid4())
        await world.sessions.say(session_id, "Loading the app")

        await world.progress(ada, session_id, SessionStage.PLACED, "Placed", node="pool-1")

        view = await world.sessions.view(ada, session_id)
        assert (view.message, view.node) == ("Loading the app", "pool-1")
        assert view.expected_at is None

    @pytest.mark.parametrize("state", ["queued", "running", "stopping", "ended"])
    async def test_only_a_starting_session_makes_progress(
        self, world: World, ada: Principal, state: str
    ) -> None:
        first = await world.launch(ada)
        session_id = await world.launch(ada) if state == "queued" else first
        if state in {"running", "stopping"}:
            await world.run(ada, session_id)
        if state == "stopping":
            await world.stop(ada, session_id)
        if state == "ended":
            await world.sessions.on_over(ended(ada, session_id))
        before = await world.sessions.view(ada, session_id)
        assert before.state == state

        await world.progress(
            ada, session_id, SessionStage.PULLING_IMAGE, "Late", node="x", expected_at=SOON
        )

        assert await world.sessions.view(ada, session_id) == before

    async def test_a_restart_of_a_service_that_runs_is_told_and_it_runs_on(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada, kind="external", service="notebooks")
        await world.run(ada, session_id)

        await world.progress(ada, session_id, SessionStage.RESTARTED, "Its container was restarted")

        view = await world.sessions.view(ada, session_id)
        assert (view.state, view.stage) == (SessionState.RUNNING, None)
        assert view.message == "Its container was restarted"

    async def test_once_it_is_made_it_waits_for_a_place_no_more(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada)
        await world.progress(ada, session_id, SessionStage.WAITING_FOR_PLACE, "Full")

        made = SessionStarting(account_id=ada.account_id, session_id=session_id)
        await world.sessions.on_starting(made)

        assert (await world.sessions.view(ada, session_id)).stage is None
        await world.progress(ada, session_id, SessionStage.PLACED, "Placed")
        await world.sessions.on_starting(made)
        assert (await world.sessions.view(ada, session_id)).stage is SessionStage.PLACED

    async def test_another_accounts_word_is_not_believed(
        self, world: World, ada: Principal
    ) -> None:
        eve = await world.account("evil")
        session_id = await world.launch(ada)
        before = await world.sessions.view(ada, session_id)

        await world.progress(eve, session_id, SessionStage.PLACED, "Evil", node="evil")

        assert await world.sessions.view(ada, session_id) == before

    async def test_an_end_on_the_way_leaves_no_wait_behind(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada)
        await world.progress(ada, session_id, SessionStage.WAITING_FOR_NODE, expected_at=SOON)

        await world.sessions.on_over(failed(ada, session_id, EndReason.NO_ROOM, ""))

        view = await world.sessions.view(ada, session_id)
        assert (view.stage, view.expected_at) == (None, None)


async def launched(world: World, who: Principal, kind: SessionKind) -> UUID:
    match kind:
        case SessionKind.TASK:
            await world.tasks.start(who, world.task())
            return (await world.task_sessions())[-1]
        case SessionKind.EXTERNAL:
            return await world.launch(who, kind="external", service="notebooks")
        case SessionKind.WEBUI | SessionKind.SOLVE:
            return await world.launch(who, app="depots", kind=kind)


class TestEnds:
    @pytest.mark.parametrize("kind", list(SessionKind))
    @pytest.mark.parametrize("ran", [False, True], ids=["starting", "running"])
    async def test_each_gives_its_place_back_exactly_once(
        self, world: World, ada: Principal, kind: SessionKind, ran: bool
    ) -> None:
        for reason in FAILURES:
            who = await world.account(f"of {reason}", limit=1)
            await world.publish_all(who)
            session_id = await launched(world, who, kind)
            waiting = [await world.launch(who) for _ in range(3)]
            if ran:
                await world.run(who, session_id)
                if kind is SessionKind.TASK:
                    await world.tasks.next_task(session_id, wait_seconds=0)
            end = failed(who, session_id, reason, "")

            for _ in range(3):
                await world.sessions.on_over(end)
            await world.sessions.on_over(failed(who, session_id, EndReason.LOST))

            view = await world.sessions.view(who, session_id)
            assert (view.state, view.reason) == (SessionState.FAILED, reason)
            states = [await world.state(who, each) for each in waiting]
            assert states == ["starting", "queued", "queued"], reason
            ours = {str(session_id), *map(str, waiting)}
            told = await world.told(SESSIONS_WANTED)
            assert [(key, body is not None) for key, body in told if key in ours] == [
                (str(session_id), True),
                (str(session_id), False),
                (str(waiting[0]), True),
            ], reason

    async def test_a_task_goes_on_elsewhere_after_a_fault_of_the_platform_only(
        self, world: World, ada: Principal
    ) -> None:
        for reason in FAILURES:
            who = await world.account(f"of {reason}", limit=1)
            await world.publish_all(who)
            task = await world.tasks.start(who, world.task())
            session_id = (await world.task_sessions())[-1]
            await world.run(who, session_id)
            await world.tasks.next_task(session_id, wait_seconds=0)

            await world.sessions.on_over(failed(who, session_id, reason))

            again = (await world.tasks.view(who, task.id)).state
            theirs = reason in PLATFORM_FAULTS
            assert again is (TaskState.QUEUED if theirs else TaskState.FAILED), reason

    @pytest.mark.parametrize("reason", sorted(PLATFORM_FAULTS))
    async def test_three_times_in_all(
        self, world: World, ada: Principal, reason: EndReason
    ) -> None:
        task = await world.tasks.start(ada, world.task())

        for attempt in (1, 2, 3):
            assert (await world.tasks.view(ada, task.id)).state is TaskState.QUEUED, attempt
            session_id = (await world.task_sessions())[-1]
            await world.run(ada, session_id)
            await world.tasks.next_task(session_id, wait_seconds=0)
            await world.sessions.on_over(failed(ada, session_id, reason))

        assert (await world.tasks.view(ada, task.id)).state is TaskState.FAILED
        assert len(await world.task_sessions()) == 3

    def test_these_are_the_faults_of_the_platform(self) -> None:
        assert {
            EndReason.LOST,
            EndReason.EVICTED,
            EndReason.NODE_LOST,
            EndReason.START_TIMEOUT,
            EndReason.NO_ROOM,
            EndReason.IMAGE_UNAVAILABLE,
        } == PLATFORM_FAULTS

    async def test_what_it_used_is_kept(self, world: World, ada: Principal) -> None:
        session_id = await world.launch(ada)

        await world.sessions.on_over(
            SessionFailed(
                account_id=ada.account_id,
                session_id=session_id,
                reason=EndReason.OUT_OF_MEMORY,
                peak_memory_mib=2048,
                cpu_seconds=41.5,
            )
        )

        view = await world.sessions.view(ada, session_id)
        assert (view.peak_memory_mib, view.cpu_seconds) == (2048, 41.5)
