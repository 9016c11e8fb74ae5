"""What to do next for one session: a pure function of what is wanted and what is there.

Safe to ask at any time and any number of times, also by a scheduler that has just been started
and remembers nothing: what it needs to know lies in the wanted topic and in the units themselves.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway_common.contracts.sessions import EndReason, SessionStage, SessionWanted
from slipway_common.text import span
from slipway_scheduler.models import (
    Action,
    Activate,
    Announce,
    Conclude,
    Create,
    Forget,
    Kill,
    Report,
    Step,
    Stop,
    Termination,
    Unit,
    UnitPhase,
)

LOST = Termination(EndReason.LOST, "What ran it disappeared.")
NEVER_CREATED = Termination(EndReason.START_TIMEOUT, "Nothing could be made to run it in time.")
NODE_PATIENCE = timedelta(minutes=15)
"""A machine that has not come by then will not come: its cloud has none, or none is allowed."""

ESTIMATE_TOLERANCE = timedelta(seconds=30)
"""An estimate that has moved by less is not worth an event."""

FAILURES = frozenset(EndReason) - {
    EndReason.STOPPED,
    EndReason.FINISHED,
    EndReason.IDLE,
    EndReason.TIME_LIMIT,
}


@dataclass(frozen=True, slots=True)
class Told:
    """What this scheduler has told of a unit; lost with it, and then told again."""

    identity: str = ""
    phase: UnitPhase | None = None
    step: Step | None = None

    def said(self, unit: Unit) -> bool:
        return (self.identity, self.phase) == (unit.identity, unit.phase)


NOTHING_TOLD = Told()


def decide(
    wanted: SessionWanted | None,
    unit: Unit | None,
    *,
    now: datetime,
    told: Told = NOTHING_TOLD,
    stop_grace: timedelta,
) -> Action | None:
    """Choose the one next thing to do, or None if all is as it should be."""
    if wanted is None:
        if unit is None:
            return None
        return _end_unwanted(unit, now=now, told=told, stop_grace=stop_grace)
    if unit is None:
        return _begin(wanted, now=now, told=told)
    match unit.phase:
        case UnitPhase.GONE:
            return None if told.said(unit) else _conclude(unit)
        case UnitPhase.STOPPING:
            return _kill_when_due(unit, now=now, stop_grace=stop_grace)
        case UnitPhase.STARTING:
            return _stop_if_hopeless(wanted, unit, now=now) or _help_start(unit, told=told)
        case UnitPhase.READY:
            stop = _stop_if_hopeless(wanted, unit, now=now)
            return stop or (_report(unit, told=told) if told.said(unit) else Announce(unit))


def _begin(wanted: SessionWanted, *, now: datetime, told: Told) -> Action | None:
    """What could not be begun in its time to start is not begun any more, and nothing twice."""
    if told.phase is UnitPhase.GONE:
        return None
    if told.phase is UnitPhase.READY:
        return Conclude(wanted.session_id, wanted.account_id, LOST)
    if now - wanted.admitted_at <= timedelta(seconds=wanted.start_timeout_seconds):
        return Create(wanted.session_id)
    return Conclude(wanted.session_id, wanted.account_id, NEVER_CREATED)


def _help_start(unit: Unit, *, told: Told) -> Action | None:
    return Activate(unit.session_id) if unit.dormant else _report(unit, told=told)


def _report(unit: Unit, *, told: Told) -> Report | None:
    if unit.step is None or not _is_news(unit.step, told.step):
        return None
    return Report(unit, unit.step)


def _is_news(step: Step, before: Step | None) -> bool:
    if before is None or replace(step, expected_at=before.expected_at) != before:
        return True
    if step.expected_at is None or before.expected_at is None:
        return step.expected_at != before.expected_at
    return abs(step.expected_at - before.expected_at) > ESTIMATE_TOLERANCE


def _stop_if_hopeless(wanted: SessionWanted, unit: Unit, *, now: datetime) -> Stop | None:
    if unit.fault is not None:
        return Stop(unit.session_id, unit.fault.reason, unit.fault.message)
    return _overdue(wanted, unit, now=now)


def _overdue(wanted: SessionWanted, unit: Unit, *, now: datetime) -> Stop | None:
    # The time that it waited for a machine is not the app's.
    placed_at = max(wanted.admitted_at, unit.placed_at or wanted.admitted_at)
    waits = unit.step is not None and unit.step.stage is SessionStage.WAITING_FOR_NODE
    if not waits and now - placed_at > timedelta(seconds=wanted.max_seconds):
        return Stop(
            wanted.session_id,
            EndReason.TIME_LIMIT,
            f"It ran for as long as it may, {span(wanted.max_seconds)}.",
        )
    if unit.phase is not UnitPhase.STARTING:
        return None
    if waits:
        if now - wanted.admitted_at <= NODE_PATIENCE:
            return None
        return Stop(
            wanted.session_id,
            EndReason.NO_ROOM,
            f"No machine had room for it within {span(NODE_PATIENCE.total_seconds())}.",
        )
    if now - max(placed_at, unit.begun_at or placed_at) > timedelta(
        seconds=wanted.start_timeout_seconds
    ):
        return Stop(
            wanted.session_id,
            EndReason.START_TIMEOUT,
            f"It did not answer within {span(wanted.start_timeout_seconds)}.",
        )
    return None


def _end_unwanted(unit: Unit, *, now: datetime, told: Told, stop_grace: timedelta) -> Action | None:
    match unit.phase:
        case UnitPhase.GONE:
            return Forget(unit.session_id) if told.said(unit) else _conclude(unit)
        case UnitPhase.STOPPING:
            return _kill_when_due(unit, now=now, stop_grace=stop_grace)
        case UnitPhase.STARTING | UnitPhase.READY:
            return Stop(unit.session_id, EndReason.STOPPED)


def _kill_when_due(unit: Unit, *, now: datetime, stop_grace: timedelta) -> Kill | None:
    since = unit.stopping_since
    return Kill(unit.session_id) if since is not None and now - since > stop_grace else None


def _conclude(unit: Unit) -> Conclude:
    return Conclude(unit.session_id, unit.account_id, unit.termination or LOST)
