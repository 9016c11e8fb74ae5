"""The table of decisions: every combination of what is wanted and what is there."""

from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import uuid4

import pytest

from slipway_common.contracts.sessions import EndReason, SessionKind, SessionWanted
from slipway_scheduler.models import (
    Announce,
    Conclude,
    Create,
    Forget,
    Kill,
    Stop,
    Termination,
    Unit,
    UnitPhase,
)
from slipway_scheduler.reconcile import FAILURES, LOST, NOTHING_TOLD, Told, decide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=10)
SESSION, ACCOUNT = uuid4(), uuid4()
SAID = Termination(EndReason.FINISHED, "Done.")


def wanted(*, age: float = 0) -> SessionWanted:
    return SessionWanted(
        account_id=ACCOUNT,
        session_id=SESSION,
        kind=SessionKind.WEBUI,
        app_name="depots",
        app_version="1",
        runtime="1.0.0.1-linux64-x64",
        start_timeout_seconds=100,
        max_seconds=1000,
        admitted_at=NOW - timedelta(seconds=age),
    )


def unit(
    phase: UnitPhase,
    *,
    stopping: float | None = None,
    termination: Termination | None = None,
) -> Unit:
    return Unit(
        session_id=SESSION,
        account_id=ACCOUNT,
        phase=phase,
        identity="1",
        address="127.0.0.1:1" if phase is UnitPhase.READY else None,
        stopping_since=None if stopping is None else NOW - timedelta(seconds=stopping),
        termination=termination,
    )


def told(there: Unit | None, *, announced: bool) -> Told:
    if there is None or not announced:
        return NOTHING_TOLD
    return Told(there.identity, there.phase)


STARTING, READY = unit(UnitPhase.STARTING), unit(UnitPhase.READY)
STOPPING, OVERDUE = (
    unit(UnitPhase.STOPPING, stopping=5),
    unit(UnitPhase.STOPPING, stopping=11),
)
GONE = unit(UnitPhase.GONE, termination=SAID)
SILENT = unit(UnitPhase.GONE)

STOP = Stop(SESSION, EndReason.STOPPED)
TOO_LATE = Stop(SESSION, EndReason.START_TIMEOUT, "It did not answer within 100 seconds.")
TOO_LONG = Stop(SESSION, EndReason.TIME_LIMIT, "It ran for as long as it may, 17 minutes.")


@pytest.mark.parametrize(
    ("want", "there", "announced", "action"),
    [
        # Nobody wants it.
        (None, None, False, None),
        (None, STARTING, False, STOP),
        (None, STARTING, True, STOP),
        (None, READY, False, STOP),
        (None, READY, True, STOP),
        (None, STOPPING, False, None),
        (None, STOPPING, True, None),
        (None, OVERDUE, False, Kill(SESSION)),
        (None, OVERDUE, True, Kill(SESSION)),
        (None, GONE, False, Conclude(SESSION, ACCOUNT, SAID)),
        (None, GONE, True, Forget(SESSION)),
        (None, SILENT, False, Conclude(SESSION, ACCOUNT, LOST)),
        (None, SILENT, True, Forget(SESSION)),
        # It is wanted and young.
        (0, None, False, Create(SESSION)),
        (0, STARTING, False, None),
        (0, STARTING, True, None),
        (0, READY, False, Announce(READY)),
        (0, READY, True, None),
        (0, STOPPING, False, None),
        (0, OVERDUE, False, Kill(SESSION)),
        (0, GONE, False, Conclude(SESSION, ACCOUNT, SAID)),
        (0, GONE, True, None),
        (0, SILENT, False, Conclude(SESSION, ACCOUNT, LOST)),
        (0, SILENT, True, None),
        # It should have answered by now.
        (100, STARTING, False, None),
        (101, STARTING, False, TOO_LATE),
        (101, READY, False, Announce(READY)),
        (101, READY, True, None),
        # It has run for as long as it may.
        (1000, READY, True, None),
        (1001, STARTING, False, TOO_LONG),
        (1001, READY, False, TOO_LONG),
        (1001, READY, True, TOO_LONG),
        (1001, STOPPING, False, None),
        (1001, OVERDUE, False, Kill(SESSION)),
        (1001, GONE, False, Conclude(SESSION, ACCOUNT, SAID)),
        (1001, GONE, True, None),
    ],
)
def test_the_next_thing_to_do(want, there, announced, action) -> None:
    found = decide(
        None if want is None else wanted(age=want),
        there,
        now=NOW,
        told=told(there, announced=announced),
        stop_grace=GRACE,
    )

    assert found == action


def test_a_stop_whose_beginning_is_unknown_is_waited_for() -> None:
    there = unit(UnitPhase.STOPPING)

    assert decide(None, there, now=NOW, stop_grace=GRACE) is None


@pytest.mark.parametrize(
    ("age", "phase", "announced"),
    product([None, 0, 500, 5000], [None, *UnitPhase], [False, True]),
)
def test_whatever_is_seen_there_is_an_answer_and_asking_again_gives_the_same(
    age: float | None, phase: UnitPhase | None, announced: bool
) -> None:
    want = None if age is None else wanted(age=age)
    there = None if phase is None else unit(phase, stopping=3)

    first = decide(want, there, now=NOW, told=told(there, announced=announced), stop_grace=GRACE)
    second = decide(want, there, now=NOW, told=told(there, announced=announced), stop_grace=GRACE)

    assert first == second
    if isinstance(first, Create):
        assert there is None
    if isinstance(first, Forget):
        assert phase is UnitPhase.GONE
        assert announced


@pytest.mark.parametrize("there", [GONE, SILENT, READY])
def test_a_scheduler_that_remembers_nothing_tells_it_again_before_it_forgets(there) -> None:
    action = decide(wanted(), there, now=NOW, stop_grace=GRACE)

    assert isinstance(action, Announce | Conclude)


def test_the_reasons_that_are_failures() -> None:
    assert set(EndReason) - FAILURES == {
        EndReason.STOPPED,
        EndReason.FINISHED,
        EndReason.IDLE,
        EndReason.TIME_LIMIT,
    }
