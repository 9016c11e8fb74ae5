"""The story of a session as stages with times: what was, what is, and what is still to come."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType

from slipway_common.contracts.sessions import SessionKind, SessionStage
from slipway_common.contracts.views import SessionState, SessionStep, SessionView
from slipway_gateway.portal.summaries import STAGES

_LABELS = {
    SessionState.REQUESTED: "Launch received",
    SessionState.QUEUED: "Waiting for a free place",
    SessionState.RUNNING: "Running",
    SessionState.STOPPING: "Stopping",
    SessionState.ENDED: "Ended",
    SessionState.FAILED: "Failed",
    SessionState.REFUSED: "Refused",
}
_READY = "Ready to use"


class StageStatus(StrEnum):
    DONE = "done"
    CURRENT = "current"
    READY = "ready"
    FAILED = "failed"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class Note:
    at: datetime
    text: str
    lasted: timedelta | None = None
    """Until whatever came next; None of the newest, which still goes on."""


@dataclass(frozen=True, slots=True)
class Stage:
    label: str
    status: StageStatus
    at: datetime | None = None
    lasted: timedelta | None = None
    """Until the next stage; None if it is not over, or nothing follows it."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """A session that cannot go on yet, through nobody's fault."""

    title: str
    explanation: str
    since: datetime
    until: datetime | None
    """Going by earlier waits; None: nobody can say."""
    left: timedelta
    """Nothing is left once the wait takes longer than expected."""
    fraction: float


@dataclass(frozen=True, slots=True)
class Pip:
    label: str
    status: StageStatus


def timeline(view: SessionView, *, now: datetime) -> tuple[Stage, ...]:
    """The stages that the session went through, and those that are still ahead of it."""
    groups = _groups(view)
    ends: list[datetime | None] = [group[0].at for group in groups[1:]]
    ends.append(None if view.state.over else now)
    stages = [
        _stage(group, kind=view.kind, end=end, last=index == len(groups) - 1)
        for index, (group, end) in enumerate(zip(groups, ends, strict=True))
    ]
    return (*stages, *_ahead(view))


def _groups(view: SessionView) -> list[tuple[SessionStep, ...]]:
    steps = view.steps or (SessionStep(at=view.created_at, state=view.state),)
    return [tuple(group) for _, group in groupby(steps, key=lambda step: step.state)]


def _label(state: SessionState, kind: SessionKind) -> str:
    if state is SessionState.STARTING:
        return "Starting the service" if kind is SessionKind.EXTERNAL else "Starting the app"
    return _LABELS[state]


def _stage(
    group: tuple[SessionStep, ...], *, kind: SessionKind, end: datetime | None, last: bool
) -> Stage:
    state, at = group[0].state, group[0].at
    status = _status(state, last=last)
    return Stage(
        label=_READY if status is StageStatus.READY else _label(state, kind),
        status=status,
        at=at,
        lasted=None if end is None else max(end - at, timedelta()),
        notes=_notes(group, end=None if last else end),
    )


def _status(state: SessionState, *, last: bool) -> StageStatus:
    if not last or state is SessionState.ENDED:
        return StageStatus.DONE
    if state in {SessionState.FAILED, SessionState.REFUSED}:
        return StageStatus.FAILED
    return StageStatus.READY if state is SessionState.RUNNING else StageStatus.CURRENT


def _ahead(view: SessionView) -> tuple[Stage, ...]:
    ready = Stage(_READY, StageStatus.AHEAD)
    match view.state:
        case SessionState.REQUESTED | SessionState.QUEUED:
            return Stage(_label(SessionState.STARTING, view.kind), StageStatus.AHEAD), ready
        case SessionState.STARTING:
            return (ready,)
        case _:
            return ()


def _notes(group: tuple[SessionStep, ...], *, end: datetime | None) -> tuple[Note, ...]:
    """What was said in a stage; the stage's own name is no news."""
    told = [(step.at, text) for step in group if (text := _text(step))]
    ends = [*(at for at, _ in told[1:]), end]
    return tuple(
        Note(at, text, None if until is None else max(until - at, timedelta()))
        for (at, text), until in zip(told, ends, strict=False)
    )


def _text(step: SessionStep) -> str:
    if step.message and step.message.casefold() != step.state.casefold():
        return step.message
    return STAGES[step.stage] if step.stage else ""


_EXPLANATIONS: Mapping[SessionStage, str] = MappingProxyType(
    {
        SessionStage.WAITING_FOR_NODE: "No machine has room for it at the moment. It starts "
        "by itself as soon as one has; if none comes in a quarter of an hour, it ends and says so.",
        SessionStage.WAITING_FOR_PLACE: "Where sessions run, no more are taken at the moment. "
        "It is asked again every few seconds, and starts by itself.",
    }
)


def wait_of(view: SessionView, *, now: datetime) -> Wait | None:
    """None if the session waits for nothing that takes long."""
    if view.state is not SessionState.STARTING or view.stage is None:
        return None
    if view.stage not in _EXPLANATIONS:
        return None
    since = now
    for step in reversed(view.steps):
        if step.state is not SessionState.STARTING or step.stage is not view.stage:
            break
        since = step.at
    until = view.expected_at
    whole = timedelta() if until is None else until - since
    return Wait(
        title=STAGES[view.stage],
        explanation=_EXPLANATIONS[view.stage],
        since=since,
        until=until,
        left=timedelta() if until is None else max(until - now, timedelta()),
        fraction=min((now - since) / whole, 1.0) if whole > timedelta() else 1.0,
    )


_OF_STAGE: Mapping[SessionStage, int] = MappingProxyType(
    {
        SessionStage.WAITING_FOR_NODE: 0,
        SessionStage.WAITING_FOR_PLACE: 0,
        SessionStage.PLACED: 1,
        SessionStage.PULLING_IMAGE: 1,
        SessionStage.CONTAINER_STARTED: 3,
        SessionStage.RESTARTED: 3,
    }
)
_OF_WORDS = (("Fetching app", 3), ("Unpacking", 3), ("Loading", 4))
"""How what the runner says begins."""


def track(view: SessionView) -> tuple[Pip, ...]:
    """The way of a starting session at a glance; empty where no step of it is told."""
    starting = [step for step in view.steps if step.state is SessionState.STARTING]
    if view.state is not SessionState.STARTING or not any(step.stage for step in starting):
        return ()
    last = ("Answer",) if view.kind is SessionKind.EXTERNAL else ("Fetch", "Load")
    labels = ("Place", "Image", "Container", *last)
    reached = min(max(map(_reached, starting)), len(labels) - 1)
    return tuple(Pip(label, _pip(index, reached)) for index, label in enumerate(labels))


def _reached(step: SessionStep) -> int:
    said = next((index for words, index in _OF_WORDS if step.message.startswith(words)), 0)
    return max(said, 0 if step.stage is None else _OF_STAGE[step.stage])


def _pip(index: int, reached: int) -> StageStatus:
    if index < reached:
        return StageStatus.DONE
    return StageStatus.CURRENT if index == reached else StageStatus.AHEAD
