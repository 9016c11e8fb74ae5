"""Launches, what should run, and what runs."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from typing_extensions import override

from slipway_common.contracts.base import Event, SessionId, UserId


class SessionKind(StrEnum):
    WEBUI = "webui"
    TASK = "task"


class EndReason(StrEnum):
    """Why a session is over; the words for its user are made from this."""

    STOPPED = "stopped"
    FINISHED = "finished"
    IDLE = "idle"
    TIME_LIMIT = "time-limit"
    START_TIMEOUT = "start-timeout"
    APP_FAILED = "app-failed"
    OUT_OF_MEMORY = "out-of-memory"
    LOST = "lost"


class SessionEvent(Event):
    """A fact about one session."""

    session_id: SessionId

    @property
    @override
    def subject(self) -> UUID:
        return self.session_id


class LaunchRequested(SessionEvent):
    """A user who may do so asked for a session."""

    type: Literal["slipway.launch.requested"] = "slipway.launch.requested"
    user_id: UserId
    app_name: str
    app_version: str


class StopRequested(SessionEvent):
    """Somebody who may do so asked that the session end."""

    type: Literal["slipway.stop.requested"] = "slipway.stop.requested"
    requested_by: UserId


class Resources(BaseModel):
    """What one session may use."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    memory_mib: Annotated[int, Field(gt=0)] = 2048
    cpu_millis: Annotated[int, Field(gt=0)] = 1000
    processes: Annotated[int, Field(gt=0)] = 256


class SessionWanted(SessionEvent):
    """The session was admitted and should run; a tombstone with its key says that it should not.

    The topic is compacted: what it holds for a session is all that is wanted of it.
    """

    type: Literal["slipway.session.wanted"] = "slipway.session.wanted"
    kind: SessionKind
    app_name: str
    app_version: str
    runtime: str
    """Id of the runtime that was newest when the session was admitted."""
    resources: Resources = Resources()
    start_timeout_seconds: Annotated[int, Field(gt=0)] = 180
    max_seconds: Annotated[int, Field(gt=0)] = 12 * 3600
    idle_seconds: Annotated[int, Field(gt=0)] = 900
    admitted_at: AwareDatetime


class SessionStarting(SessionEvent):
    """A pod (or a process) exists for the session and has not answered yet."""

    type: Literal["slipway.session.starting"] = "slipway.session.starting"


class SessionRunning(SessionEvent):
    """The session answers."""

    type: Literal["slipway.session.running"] = "slipway.session.running"
    address: str
    """HOST:PORT at which the gateway reaches it."""
    unit: str
    """Identity of the pod or process, never used again: traffic goes to this one or nowhere."""


class SessionEnded(SessionEvent):
    """Nothing of the session runs any more, and that is as it should be."""

    type: Literal["slipway.session.ended"] = "slipway.session.ended"
    reason: EndReason
    message: str = ""
    peak_memory_mib: int | None = None


class SessionFailed(SessionEvent):
    """Nothing of the session runs any more, and that is not as it should be."""

    type: Literal["slipway.session.failed"] = "slipway.session.failed"
    reason: EndReason
    message: str = ""
    """What the user can do about it, or what the app said last."""
    peak_memory_mib: int | None = None
