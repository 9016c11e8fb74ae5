"""The story of a session, told for its user: where it stands, what comes next, why it is over."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType

from slipway_common.contracts.sessions import EndReason
from slipway_common.contracts.views import SessionState, SessionStep, SessionView
from slipway_gateway.pages import ordinal

STATES: Mapping[str, str] = MappingProxyType(
    {
        SessionState.REQUESTED: "Requested",
        SessionState.QUEUED: "Queued",
        SessionState.STARTING: "Starting",
        SessionState.RUNNING: "Running",
        SessionState.STOPPING: "Stopping",
        SessionState.ENDED: "Ended",
        SessionState.FAILED: "Failed",
        SessionState.REFUSED: "Refused",
    }
)

_STAGES = {
    SessionState.REQUESTED: "Launch received",
    SessionState.QUEUED: "Waiting for a free place",
    SessionState.STARTING: "Starting the app",
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


@dataclass(frozen=True, slots=True)
class Stage:
    label: str
    status: StageStatus
    at: datetime | None = None
    lasted: timedelta | None = None
    """Until the next stage; None if it is not over, or nothing follows it."""
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    headline: str
    detail: str
    advice: str = ""


_REASONS: Mapping[EndReason, Summary] = MappingProxyType(
    {
        EndReason.STOPPED: Summary("This session was stopped", "Somebody asked for its end."),
        EndReason.FINISHED: Summary("This session is finished", "The app ended by itself."),
        EndReason.IDLE: Summary(
            "This session ended because nobody used it",
            "It was idle for so long that its place was given to others.",
            "Launch the app again to go on.",
        ),
        EndReason.TIME_LIMIT: Summary(
            "This session ran for as long as it may",
            "Sessions have a longest duration, and this one reached it.",
            "Launch the app again to go on.",
        ),
        EndReason.START_TIMEOUT: Summary(
            "The app did not start in time",
            "It was started, but never answered.",
            "Launch it again. If that fails too, send the log to the app's publisher.",
        ),
        EndReason.APP_FAILED: Summary(
            "The app ended with an error",
            "The log says what it did last.",
            "Launch it again. If that fails too, send the log to the app's publisher.",
        ),
        EndReason.OUT_OF_MEMORY: Summary(
            "The app needed more memory than it may use",
            "So it was ended, before it could disturb others.",
            "Try it with less data, or ask the app's publisher to let it use more.",
        ),
        EndReason.LOST: Summary(
            "The session was lost",
            "What it ran on went away. This is no fault of yours or of the app.",
            "Launch the app again.",
        ),
    }
)


def summarise(view: SessionView) -> Summary:
    match view.state:
        case SessionState.REQUESTED:
            return Summary("Your launch was received", view.message or "It gets its place now.")
        case SessionState.QUEUED:
            place = ordinal(view.queue_position) if view.queue_position else None
            return Summary(
                f"{place} in the queue" if place else "Waiting in the queue",
                "All places of your account are taken. This session starts by itself as soon as "
                "one is free.",
            )
        case SessionState.STARTING:
            return Summary("Your app is starting", view.message or "This takes a few seconds.")
        case SessionState.RUNNING:
            return Summary("Your app is ready", view.message or "Open it to work with it.")
        case SessionState.STOPPING:
            return Summary("The session is being stopped", view.message or "This takes a moment.")
        case SessionState.REFUSED:
            return Summary(
                "This session could not be started",
                view.message or "The account runs as many sessions as it may.",
                "Stop a session that you no longer need, or wait until another one ends.",
            )
        case SessionState.ENDED | SessionState.FAILED:
            return _why_over(view)


def _why_over(view: SessionView) -> Summary:
    if view.reason is None:
        failed = view.state is SessionState.FAILED
        headline = "This session failed" if failed else "This session is over"
        return Summary(headline, view.message, "Launch the app again to go on.")
    words = _REASONS[view.reason]
    said = view.message.strip()
    # Where all that was said is the reason once more, our own words are better.
    if not said or said.casefold().rstrip(".") == view.reason.replace("-", " "):
        return words
    return Summary(words.headline, said, words.advice)


def timeline(view: SessionView, *, now: datetime) -> tuple[Stage, ...]:
    """The stages that the session went through, and those that are still ahead of it."""
    steps = view.steps or (SessionStep(at=view.created_at, state=view.state),)
    groups = [tuple(group) for _, group in groupby(steps, key=lambda step: step.state)]
    ends: list[datetime | None] = [group[0].at for group in groups[1:]]
    ends.append(None if view.state.over else now)
    stages = [
        _stage(group, end=end, last=index == len(groups) - 1)
        for index, (group, end) in enumerate(zip(groups, ends, strict=True))
    ]
    return (*stages, *_ahead(view.state))


def _stage(group: tuple[SessionStep, ...], *, end: datetime | None, last: bool) -> Stage:
    state, at = group[0].state, group[0].at
    status = _status(state, last=last)
    return Stage(
        label=_READY if status is StageStatus.READY else _STAGES[state],
        status=status,
        at=at,
        lasted=None if end is None else max(end - at, timedelta()),
        notes=_notes(group),
    )


def _status(state: SessionState, *, last: bool) -> StageStatus:
    if not last or state is SessionState.ENDED:
        return StageStatus.DONE
    if state in {SessionState.FAILED, SessionState.REFUSED}:
        return StageStatus.FAILED
    return StageStatus.READY if state is SessionState.RUNNING else StageStatus.CURRENT


def _ahead(state: SessionState) -> tuple[Stage, ...]:
    ready = Stage(_READY, StageStatus.AHEAD)
    match state:
        case SessionState.REQUESTED | SessionState.QUEUED:
            return Stage(_STAGES[SessionState.STARTING], StageStatus.AHEAD), ready
        case SessionState.STARTING:
            return (ready,)
        case _:
            return ()


def _notes(group: tuple[SessionStep, ...]) -> tuple[Note, ...]:
    """What was said in a stage; the stage's own name is no news."""
    return tuple(
        Note(step.at, step.message)
        for step in group
        if step.message and step.message.casefold() != step.state.casefold()
    )
