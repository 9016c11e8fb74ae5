"""Why a session is over, in words for its user, with what to do about it: the same everywhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from slipway_common.contracts.sessions import EndReason, SessionKind


class Fault(StrEnum):
    """Whose fault an end is, which decides whether the same may go well elsewhere."""

    NOBODY = "nobody"
    APP = "app"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Words:
    headline: str
    detail: str
    advice: str
    """What its user can do; empty: there is nothing to be done."""


@dataclass(frozen=True, slots=True)
class _Reason:
    """Words about a ``{thing}``, an app or a service, that ``{whom}`` answers for."""

    fault: Fault
    headline: str
    detail: str
    advice: str


_GO_ON = "Launch the {thing} again to go on."
_TELL = "Launch it again. If that fails too, send the log to {whom}."
_LATER = "Launch it again in a few minutes. If that fails too, tell an admin of your account."
_NO_FAULT = "This is no fault of yours or of the {thing}."

_REASONS: Mapping[EndReason, _Reason] = MappingProxyType(
    {
        EndReason.STOPPED: _Reason(
            Fault.NOBODY, "This session was stopped", "Somebody asked for its end.", ""
        ),
        EndReason.FINISHED: _Reason(
            Fault.NOBODY, "This session is finished", "The {thing} ended by itself.", ""
        ),
        EndReason.IDLE: _Reason(
            Fault.NOBODY,
            "This session ended because nobody used it",
            "It was idle for so long that its place was given to others.",
            _GO_ON,
        ),
        EndReason.TIME_LIMIT: _Reason(
            Fault.NOBODY,
            "This session ran for as long as it may",
            "Sessions have a longest duration, and this one reached it.",
            _GO_ON,
        ),
        EndReason.START_TIMEOUT: _Reason(
            Fault.PLATFORM,
            "The {thing} did not start in time",
            "It was started, but never answered.",
            _TELL,
        ),
        EndReason.APP_FAILED: _Reason(
            Fault.APP,
            "The {thing} ended with an error",
            "The log says what it did last.",
            _TELL,
        ),
        EndReason.OUT_OF_MEMORY: _Reason(
            Fault.APP,
            "The {thing} needed more memory than it may use",
            "So it was ended, before it could disturb others.",
            "Try it with less data, or ask {whom} for a larger profile.",
        ),
        EndReason.LOST: _Reason(
            Fault.PLATFORM,
            "The session was lost",
            f"What it ran on went away. {_NO_FAULT}",
            _GO_ON,
        ),
        EndReason.EVICTED: _Reason(
            Fault.PLATFORM,
            "The session lost its place",
            "Its node needed the room, or was taken out of service.",
            _GO_ON,
        ),
        EndReason.NODE_LOST: _Reason(
            Fault.PLATFORM,
            "The node of the session was lost",
            f"The machine that it ran on stopped answering. {_NO_FAULT}",
            _GO_ON,
        ),
        EndReason.IMAGE_UNAVAILABLE: _Reason(
            Fault.PLATFORM,
            "The image of the session could not be fetched",
            "What it runs in could not be had from where it is kept.",
            _LATER,
        ),
        EndReason.NO_ROOM: _Reason(
            Fault.PLATFORM,
            "No node had room for the session",
            "None became free, and none could be added, before its time to start was over.",
            _LATER,
        ),
        EndReason.NOT_ADMITTED: _Reason(
            Fault.APP,
            "The session was not let in",
            "What it asks for is refused where sessions run.",
            "Trying again does not help. Tell an admin of your account what you launched and when.",
        ),
    }
)

PLATFORM_FAULTS = frozenset(
    reason for reason, words in _REASONS.items() if words.fault is Fault.PLATFORM
)
"""After these the same work may go well elsewhere; for a task, any other end is final."""


def words_of(reason: EndReason, kind: SessionKind) -> Words:
    found = _REASONS[reason]
    external = kind is SessionKind.EXTERNAL
    thing = "service" if external else "app"
    whom = "an admin of your account" if external else "the app's publisher"
    return Words(
        headline=found.headline.format(thing=thing),
        detail=found.detail.format(thing=thing),
        advice=_advice(found, kind).format(thing=thing, whom=whom),
    )


def _advice(found: _Reason, kind: SessionKind) -> str:
    match kind:
        case SessionKind.TASK if found.fault is Fault.PLATFORM:
            return "You need do nothing: its task is started again, up to three times in all."
        case SessionKind.TASK if found.advice == _GO_ON:
            return ""  # whatever tasks are left get a session by themselves
        case SessionKind.TASK if found.advice == _TELL:
            return "Its task has failed and says why. If that repeats, send the log to {whom}."
        case SessionKind.SOLVE if found.advice == _GO_ON:
            return "Launch it again, and repeat the call that was under way."
        case _:
            return found.advice
