"""Decisions about sessions in pods: on the way to their first answer, and when none will come."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_common.contracts.sessions import EndReason, SessionKind, SessionStage, SessionWanted
from slipway_scheduler.models import (
    Activate,
    Announce,
    Conclude,
    Create,
    Report,
    Step,
    Stop,
    Termination,
    Unit,
    UnitPhase,
)
from slipway_scheduler.reconcile import LOST, NEVER_CREATED, NODE_PATIENCE, Told, decide

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GRACE = timedelta(seconds=20)
SESSION, ACCOUNT = uuid4(), uuid4()
START_TIMEOUT = 100
MAX = 100_000
PLACED = Step(SessionStage.PLACED, "A machine was found", "node-1")
STARTED = Step(SessionStage.CONTAINER_STARTED, "Its container runs", "node-1")
WAITING = Step(SessionStage.WAITING_FOR_NODE, "Waiting for a machine with room for it")
RESTARTED = Step(SessionStage.RESTARTED, "Its container was started again (once)", "node-1")
NO_IMAGE = Termination(EndReason.IMAGE_UNAVAILABLE, "The container image cannot be had.")


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def wanted(age: float = 0) -> SessionWanted:
    return SessionWanted.model_validate(
        {
            "account_id": ACCOUNT,
            "session_id": SESSION,
            "kind": SessionKind.WEBUI,
            "app_name": "depots",
            "app_version": "1",
            "runtime": "1.0.0.1-linux64-x64",
            "start_timeout_seconds": START_TIMEOUT,
            "max_seconds": MAX,
            "admitted_at": ago(age),
        }
    )


def unit(phase: UnitPhase = UnitPhase.STARTING, **more: object) -> Unit:
    there = Unit(session_id=SESSION, account_id=ACCOUNT, phase=phase, identity="1")
    if phase is UnitPhase.READY:
        there = replace(there, address="10.0.0.1:8080")
    return replace(there, **more)  # type: ignore[arg-type]


def next_for(there: Unit | None, *, age: float = 0, told: Told | None = None) -> object:
    return decide(wanted(age), there, now=NOW, told=told or Told(), stop_grace=GRACE)


# Each step once


def test_each_step_is_told_once() -> None:
    there = unit(step=PLACED)

    assert next_for(there) == Report(there, PLACED)
    assert next_for(there, told=Told(step=PLACED)) is None


def test_the_next_step_is_told_after_the_one_before() -> None:
    there = unit(step=STARTED)

    assert next_for(there, told=Told(step=PLACED)) == Report(there, STARTED)


def test_a_start_without_a_step_has_nothing_to_tell() -> None:
    assert next_for(unit()) is None


def test_a_wait_for_a_node_is_told_once_however_long_it_lasts() -> None:
    for seconds in range(0, 600, 5):
        assert next_for(unit(step=WAITING), age=seconds, told=Told(step=WAITING)) is None


def test_an_estimate_is_news_when_it_comes_and_when_it_has_moved_by_much() -> None:
    told = replace(WAITING, expected_at=ago(-100))

    def is_told(*, now: Step, before: Step) -> bool:
        return next_for(unit(step=now), told=Told(step=before)) is not None

    assert is_told(now=told, before=WAITING)
    assert is_told(now=WAITING, before=told)
    assert not is_told(now=replace(WAITING, expected_at=ago(-129)), before=told)
    assert not is_told(now=replace(WAITING, expected_at=ago(-71)), before=told)
    assert is_told(now=replace(WAITING, expected_at=ago(-131)), before=told)


def test_a_session_that_answers_is_announced_and_its_steps_are_history() -> None:
    there = unit(UnitPhase.READY)

    assert next_for(there, told=Told(step=STARTED)) == Announce(there)


def test_that_a_running_one_was_started_again_is_told_after_it_was_announced() -> None:
    there = unit(UnitPhase.READY, step=RESTARTED)
    announced = Told(there.identity, UnitPhase.READY)

    assert next_for(there) == Announce(there)
    assert next_for(there, told=announced) == Report(there, RESTARTED)
    assert next_for(there, told=replace(announced, step=RESTARTED)) is None


# Members that became sessions


def test_a_member_that_has_not_heard_is_told_before_anything_else_about_it() -> None:
    assert next_for(unit(dormant=True, step=STARTED)) == Activate(SESSION)


def test_a_member_that_nobody_wants_any_more_is_not_told_but_stopped() -> None:
    there = unit(dormant=True)

    assert decide(None, there, now=NOW, stop_grace=GRACE) == Stop(SESSION, EndReason.STOPPED)


def test_a_member_that_never_hears_is_given_up_after_the_time_to_start() -> None:
    there = unit(dormant=True, placed_at=ago(101))

    assert isinstance(next_for(there, age=101), Stop)


def test_a_member_that_a_new_scheduler_sees_for_the_first_time_has_its_time_to_answer() -> None:
    """It may have run for hours: the scheduler before knew, and is gone."""
    there = unit(dormant=True, placed_at=ago(60_000), begun_at=NOW)

    assert next_for(there, age=50_000) == Activate(SESSION)


# What will never come


@pytest.mark.parametrize("phase", [UnitPhase.STARTING, UnitPhase.READY])
def test_a_fault_ends_it_at_once_with_its_reason(phase: UnitPhase) -> None:
    there = unit(phase, fault=NO_IMAGE, step=PLACED, dormant=phase is UnitPhase.STARTING)

    assert next_for(there) == Stop(SESSION, NO_IMAGE.reason, NO_IMAGE.message)


def test_a_fault_of_one_that_nobody_wants_does_not_change_why_it_is_stopped() -> None:
    there = unit(fault=NO_IMAGE)

    assert decide(None, there, now=NOW, stop_grace=GRACE) == Stop(SESSION, EndReason.STOPPED)


def test_a_fault_of_one_that_is_ending_already_changes_nothing() -> None:
    there = unit(UnitPhase.STOPPING, fault=NO_IMAGE, stopping_since=ago(1))

    assert next_for(there) is None


def test_what_could_not_be_begun_in_its_time_is_not_begun_any_more() -> None:
    assert next_for(None, age=START_TIMEOUT) == Create(SESSION)
    assert next_for(None, age=START_TIMEOUT + 1) == Conclude(SESSION, ACCOUNT, NEVER_CREATED)


def test_what_was_told_to_be_over_is_not_begun_again() -> None:
    assert next_for(None, told=Told("1", UnitPhase.GONE)) is None
    assert next_for(None, told=Told("", UnitPhase.GONE)) is None


@pytest.mark.parametrize("age", [0, 5000])
def test_what_has_answered_and_vanished_is_lost_and_not_begun_again(age: float) -> None:
    told = Told("1", UnitPhase.READY)

    assert next_for(None, age=age, told=told) == Conclude(SESSION, ACCOUNT, LOST)


# Time


def test_the_wait_for_a_node_is_not_the_apps() -> None:
    there = unit(step=WAITING)

    assert next_for(there, age=START_TIMEOUT + 1, told=Told(step=WAITING)) is None


def test_a_node_that_has_not_come_after_a_long_time_will_not_come() -> None:
    last = NODE_PATIENCE.total_seconds()

    assert next_for(unit(step=WAITING), age=last, told=Told(step=WAITING)) is None
    found = next_for(unit(step=WAITING), age=last + 1, told=Told(step=WAITING))
    assert isinstance(found, Stop)
    assert found.reason is EndReason.NO_ROOM
    assert "15 minutes" in found.message


def test_the_time_to_start_counts_from_when_it_was_placed() -> None:
    def is_stopped(*, age: float, placed: float) -> bool:
        there = unit(step=PLACED, placed_at=ago(placed))
        return isinstance(next_for(there, age=age, told=Told(step=PLACED)), Stop)

    assert not is_stopped(age=800, placed=0)
    assert not is_stopped(age=800, placed=START_TIMEOUT)
    assert is_stopped(age=800, placed=START_TIMEOUT + 1)


def test_a_pod_that_was_made_before_its_session_does_not_shorten_the_time_to_start() -> None:
    there = unit(step=PLACED, placed_at=ago(50_000))

    assert next_for(there, age=START_TIMEOUT, told=Told(step=PLACED)) is None
    found = next_for(there, age=START_TIMEOUT + 1, told=Told(step=PLACED))
    assert isinstance(found, Stop)
    assert found.reason is EndReason.START_TIMEOUT


def test_what_nobody_ever_looked_at_has_the_time_to_start_from_its_admission() -> None:
    assert next_for(unit(), age=START_TIMEOUT) is None
    assert isinstance(next_for(unit(), age=START_TIMEOUT + 1), Stop)


def test_the_time_that_it_may_run_counts_from_when_it_was_placed() -> None:
    def is_ended(there: Unit, *, age: float) -> bool:
        found = next_for(there, age=age, told=Told(there.identity, there.phase, there.step))
        return isinstance(found, Stop) and found.reason is EndReason.TIME_LIMIT

    placed = unit(UnitPhase.READY, placed_at=ago(MAX))
    assert not is_ended(placed, age=MAX + 500)
    assert is_ended(replace(placed, placed_at=ago(MAX + 1)), age=MAX + 500)
    # It waited as a member before it was anybody's, and has been found anew since.
    claimed = unit(UnitPhase.READY, placed_at=ago(3 * MAX), begun_at=ago(5))
    assert not is_ended(claimed, age=MAX)
    assert is_ended(claimed, age=MAX + 1)


# Everything at once


_STEPS = st.none() | st.builds(
    Step,
    st.sampled_from(SessionStage),
    st.sampled_from(["a", "b"]),
    st.none() | st.just("node"),
    st.none() | st.floats(-100, 100).map(ago),
)
_TIMES = st.none() | st.floats(-10, 2000).map(ago)
_UNITS = st.builds(
    Unit,
    session_id=st.just(SESSION),
    account_id=st.just(ACCOUNT),
    phase=st.sampled_from(UnitPhase),
    identity=st.sampled_from("12"),
    address=st.just("10.0.0.1:8080"),
    placed_at=_TIMES,
    stopping_since=_TIMES,
    termination=st.none() | st.just(NO_IMAGE),
    fault=st.none() | st.just(NO_IMAGE),
    step=_STEPS,
    dormant=st.booleans(),
)
_TOLD = st.builds(
    Told, st.sampled_from(["", "1", "2"]), st.none() | st.sampled_from(UnitPhase), _STEPS
)


@given(there=st.none() | _UNITS, told=_TOLD, age=st.floats(0, 200_000), is_wanted=st.booleans())
def test_whatever_is_there_the_decision_keeps_its_promises(
    there: Unit | None, told: Told, age: float, is_wanted: bool
) -> None:
    want = wanted(age) if is_wanted else None

    action = decide(want, there, now=NOW, told=told, stop_grace=GRACE)

    match action:
        case Create():
            assert want is not None
            assert there is None
            assert told.phase not in {UnitPhase.GONE, UnitPhase.READY}
        case Activate():
            assert want is not None
            assert there is not None
            assert there.dormant
            assert there.phase is UnitPhase.STARTING
        case Report(step=step):
            assert want is not None
            assert step != told.step
        case Stop():
            assert there is not None
            assert there.phase in {UnitPhase.STARTING, UnitPhase.READY}
        case Conclude():
            assert there is None or there.phase is UnitPhase.GONE
        case Announce():
            assert want is not None
            assert there is not None
            assert there.phase is UnitPhase.READY
        case _:
            pass
