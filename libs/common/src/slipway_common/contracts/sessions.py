"""Launches, what should run, and what runs."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from typing_extensions import override

from slipway_common.contracts.base import Event, SessionId, UserId


class SessionKind(StrEnum):
    WEBUI = "webui"
    """A user's app behind the browser."""

    SOLVE = "solve"
    """Runs procedures of an app that its user calls one by one, without a page."""

    TASK = "task"
    """Works on queued tasks of one user and app."""

    EXTERNAL = "external"
    """A container that is no app of ours, behind the same door."""


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
    EVICTED = "evicted"
    """Its node needed the room, or was drained."""

    NODE_LOST = "node-lost"
    IMAGE_UNAVAILABLE = "image-unavailable"
    NO_ROOM = "no-room"
    """No node could take it before its time to start was over."""

    NOT_ADMITTED = "not-admitted"
    """The place where sessions run refused what was asked of it, for good."""


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
    """What one session may use: a profile's figures."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    profile: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")] = "standard"
    memory_mib: Annotated[int, Field(gt=0)] = 2048
    cpu_millis: Annotated[int, Field(gt=0)] = 1000
    processes: Annotated[int, Field(gt=0)] = 256
    disk_mib: Annotated[int, Field(gt=0)] = 4096
    """Scratch space, the unpacked runtime included."""


class ExternalService(BaseModel):
    """A container that the operator allows, run behind a runner that stands at its door."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    image: Annotated[str, Field(min_length=1, max_length=500)]
    port: Annotated[int, Field(ge=1024, le=65535)]
    """Where the container listens; below 1024 it would need rights that it does not get."""

    command: tuple[Annotated[str, Field(max_length=1000)], ...] = ()
    """Empty: what the image starts by itself."""

    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    resources: Resources = Resources()
    """Of the container; the runner in front of it needs little."""


class SessionWanted(SessionEvent):
    """The session was admitted and should run; a tombstone with its key says that it should not.

    The topic is compacted: what it holds for a session is all that is wanted of it.
    """

    type: Literal["slipway.session.wanted"] = "slipway.session.wanted"
    kind: SessionKind
    app_name: str
    app_version: str
    """Of an external session: the name of its service, and the tag of its image."""
    runtime: str
    """Id of the runtime that was newest when the session was admitted; empty if it needs none."""
    resources: Resources = Resources()
    external: ExternalService | None = None
    """Of an external session only."""
    start_timeout_seconds: Annotated[int, Field(gt=0)] = 180
    max_seconds: Annotated[int, Field(gt=0)] = 12 * 3600
    idle_seconds: Annotated[int, Field(gt=0)] = 900
    admitted_at: AwareDatetime


class SessionStarting(SessionEvent):
    """A pod (or a process) exists for the session and has not answered yet."""

    type: Literal["slipway.session.starting"] = "slipway.session.starting"


class SessionStage(StrEnum):
    """Where a session stands on its way to its first answer."""

    WAITING_FOR_NODE = "waiting-for-node"
    WAITING_FOR_PLACE = "waiting-for-place"
    """The namespace's quota, or the API server, takes no more at the moment."""

    PLACED = "placed"
    PULLING_IMAGE = "pulling-image"
    CONTAINER_STARTED = "container-started"
    RESTARTED = "restarted"


class SessionProgress(SessionEvent):
    """A step on the way from starting to running; each is told once, none of them must be heard."""

    type: Literal["slipway.session.progress"] = "slipway.session.progress"
    stage: SessionStage
    message: str
    """In words for its user."""
    node: str | None = None
    expected_at: AwareDatetime | None = None
    """When the wait should be over, going by earlier ones; None: nobody can say."""


class SessionRunning(SessionEvent):
    """The session answers."""

    type: Literal["slipway.session.running"] = "slipway.session.running"
    address: str
    """HOST:PORT at which the gateway reaches it."""
    unit: str
    """Identity of the pod or process, never used again: traffic goes to this one or nowhere."""
    node: str | None = None
    """Where it runs; None of a process beside the scheduler."""


class SessionEnded(SessionEvent):
    """Nothing of the session runs any more, and that is as it should be."""

    type: Literal["slipway.session.ended"] = "slipway.session.ended"
    reason: EndReason
    message: str = ""
    peak_memory_mib: int | None = None
    cpu_seconds: float | None = None


class SessionFailed(SessionEvent):
    """Nothing of the session runs any more, and that is not as it should be."""

    type: Literal["slipway.session.failed"] = "slipway.session.failed"
    reason: EndReason
    message: str = ""
    """What the user can do about it, or what the app said last."""
    peak_memory_mib: int | None = None
    cpu_seconds: float | None = None
