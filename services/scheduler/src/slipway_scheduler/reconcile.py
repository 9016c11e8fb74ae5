"""What to do next for one session: a pure function of what is wanted and what is there.

Safe to ask at any time and any number of times, also by a scheduler that has just been started
and remembers nothing: what it needs to know lies in the wanted topic and in the units themselves.
"""

from datetime import datetime, timedelta

from slipway_common.contracts.sessions import EndReason, SessionWanted
from slipway_scheduler.models import (
    Action,
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

LOST = Termination(EndReason.LOST, "The session's process disappeared.")
FAILURES = frozenset(
    {
        EndReason.APP_FAILED,
        EndReason.OUT_OF_MEMORY,
        EndReason.START_TIMEOUT,
        EndReason.LOST,
    }
)


def decide(
    wanted: SessionWanted | None,
    unit: Unit | None,
    *,
    now: datetime,
    announced: bool,
    stop_grace: timedelta,
) -> Action | None:
    """Choose the one next thing to do, or None if all is as it should be.

    ``announced``: this scheduler has told that the unit answers, or that it is over.
    """
    if wanted is None:
        if unit is None:
            return None
        return _end_unwanted(unit, now=now, announced=announced, stop_grace=stop_grace)
    if unit is None:
        return Create(wanted.session_id)
    match unit.phase:
        case UnitPhase.GONE:
            return None if announced else _conclude(unit)
        case UnitPhase.STOPPING:
            return _kill_when_due(unit, now=now, stop_grace=stop_grace)
        case UnitPhase.STARTING | UnitPhase.READY:
            overdue = _overdue(wanted, unit, now=now)
            if overdue is not None:
                return overdue
            return Announce(unit) if unit.phase is UnitPhase.READY and not announced else None


def _overdue(wanted: SessionWanted, unit: Unit, *, now: datetime) -> Stop | None:
    age = now - wanted.admitted_at
    if age > timedelta(seconds=wanted.max_seconds):
        return Stop(
            wanted.session_id,
            EndReason.TIME_LIMIT,
            f"It ran for as long as it may, {wanted.max_seconds // 60} minutes.",
        )
    if unit.phase is UnitPhase.STARTING and age > timedelta(seconds=wanted.start_timeout_seconds):
        return Stop(
            wanted.session_id,
            EndReason.START_TIMEOUT,
            f"It did not answer within {wanted.start_timeout_seconds} seconds.",
        )
    return None


def _end_unwanted(
    unit: Unit, *, now: datetime, announced: bool, stop_grace: timedelta
) -> Action | None:
    match unit.phase:
        case UnitPhase.GONE:
            return Forget(unit.session_id) if announced else _conclude(unit)
        case UnitPhase.STOPPING:
            return _kill_when_due(unit, now=now, stop_grace=stop_grace)
        case UnitPhase.STARTING | UnitPhase.READY:
            return Stop(unit.session_id, EndReason.STOPPED)


def _kill_when_due(unit: Unit, *, now: datetime, stop_grace: timedelta) -> Kill | None:
    since = unit.stopping_since
    return Kill(unit.session_id) if since is not None and now - since > stop_grace else None


def _conclude(unit: Unit) -> Conclude:
    return Conclude(unit.session_id, unit.account_id, unit.termination or LOST)
