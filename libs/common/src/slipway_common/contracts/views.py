"""What callers are shown: the bodies of the public API, and of the internal one behind it."""

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from slipway_common.contracts.packages import PackageKind, Reason, ServiceFacts
from slipway_common.contracts.sessions import EndReason, SessionKind, SessionStage
from slipway_common.contracts.tasks import TaskState

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
Version = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,31}$")]
Scope = Literal["read", "launch", "tasks", "publish", "admin"]


class View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Request(BaseModel):
    """What callers send: a field that is not known is refused, for it may be a misspelt one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Principal(View):
    """Who asks, as accounts has found out."""

    account_id: UUID
    account: str
    user_id: UUID
    user: str
    credential_id: UUID
    admin: bool
    publisher: bool
    scopes: tuple[Scope, ...]
    """Of an API key; a log-on has all."""
    expires_at: AwareDatetime

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


class LogOn(Request):
    account: Annotated[str, Field(max_length=254)]
    user: Annotated[str, Field(max_length=254)]
    password: Annotated[str, Field(max_length=1024)]


class LoggedOn(View):
    principal: Principal


class ApiKeyRequest(Request):
    name: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9 ._@-]+$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    expires_in_days: Annotated[int, Field(ge=1, le=366)] = 90


class ApiKeyView(View):
    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: AwareDatetime
    expires_at: AwareDatetime
    key: str | None = None
    """The key itself: shown once, when it is made."""


class UserRequest(Request):
    name: Annotated[str, Field(max_length=254, pattern=r"^[A-Za-z0-9._@+-]+$")]
    password: Annotated[str, Field(min_length=12, max_length=1024)]
    admin: bool = False
    publisher: bool = False


class UserView(View):
    id: UUID
    name: str
    admin: bool
    publisher: bool
    disabled: bool
    created_at: AwareDatetime


class PackageState(StrEnum):
    PROCESSING = "processing"
    READY = "ready"
    REJECTED = "rejected"


class PackageView(View):
    """What became of an upload."""

    id: UUID
    kind: PackageKind
    name: str
    version: str
    state: PackageState
    reasons: tuple[Reason, ...] = ()
    size_bytes: int | None = None
    sha256: str | None = None
    created_at: AwareDatetime
    revision: int


class AppView(View):
    name: str
    version: str
    title: str
    description: str
    category: str
    runtime: str
    services: tuple[ServiceFacts, ...]
    profile: str = "standard"
    latest: bool
    published_at: AwareDatetime
    package_id: UUID


class RuntimeView(View):
    id: str
    title: str
    signer: str
    published_at: AwareDatetime
    package_id: UUID


class SessionState(StrEnum):
    REQUESTED = "requested"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def over(self) -> bool:
        return self in {SessionState.ENDED, SessionState.FAILED, SessionState.REFUSED}


class LaunchRequest(Request):
    """Either an app, in one of its kinds, or one of the services that the operator offers."""

    kind: SessionKind = SessionKind.WEBUI
    """Any but ``task``: those are started by tasks."""
    app: Annotated[Name | None, Field(validate_default=True)] = None
    """Of every kind but external."""
    version: Version = "latest"
    service: Annotated[Name | None, Field(validate_default=True)] = None
    """Of an external session."""

    # Each fault is told with the field that it is in; a fault of the whole body would be none
    # that a caller could find.

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: SessionKind) -> SessionKind:
        if kind is SessionKind.TASK:
            raise PydanticCustomError("launch", "a task session is started by its tasks")
        return kind

    @field_validator("app")
    @classmethod
    def _check_app(cls, app: str | None, info: ValidationInfo) -> str | None:
        external = info.data.get("kind") is SessionKind.EXTERNAL
        if external and app is not None:
            raise PydanticCustomError("launch", "an external session runs a service, not an app")
        if not external and app is None:
            raise PydanticCustomError("launch", "name the app to launch")
        return app

    @field_validator("version")
    @classmethod
    def _check_version(cls, version: str, info: ValidationInfo) -> str:
        if info.data.get("kind") is SessionKind.EXTERNAL and version != "latest":
            raise PydanticCustomError("launch", "a service is offered in one version only")
        return version

    @field_validator("service")
    @classmethod
    def _check_service(cls, service: str | None, info: ValidationInfo) -> str | None:
        external = info.data.get("kind") is SessionKind.EXTERNAL
        if external and service is None:
            raise PydanticCustomError("launch", "name the service to launch")
        if not external and service is not None:
            raise PydanticCustomError("launch", "only an external session runs a service")
        return service


class SessionStep(View):
    """One line of a session's story."""

    at: AwareDatetime
    state: SessionState
    message: str = ""
    stage: SessionStage | None = None
    """Of a starting session: how far it had come."""


class SessionView(View):
    id: UUID
    kind: SessionKind
    app: str
    """Of an external session, the name of its service."""
    version: str
    """Of an external session, the tag of its image, or the beginning of its digest."""
    service: str | None = None
    """Of an external session only."""
    user: str
    state: SessionState
    queue_position: int | None = None
    """Of a queued session, counted from 1."""
    message: str = ""
    """What is going on, or why it is over, in words for its user."""
    reason: EndReason | None = None
    stage: SessionStage | None = None
    """How far a starting session has come; None if nothing is known, or it does not start."""
    expected_at: AwareDatetime | None = None
    """When the wait for a node should be over; None: nobody waits, or nobody can say."""
    node: str | None = None
    """Where it was placed."""
    profile: str = "standard"
    """What it may use: a profile of the operator's; of an external session, its own figures."""
    created_at: AwareDatetime
    running_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    peak_memory_mib: int | None = None
    cpu_seconds: float | None = None
    """Of a session that is over: the processor time that it took."""
    revision: int
    """Grows with each change: of two views the higher one is the newer."""
    steps: tuple[SessionStep, ...] = ()


class ProfileView(View):
    """What a session of this profile may use."""

    name: str
    memory_mib: int
    cpu_millis: int
    processes: int
    disk_mib: int


class ServiceView(View):
    """A container that the operator offers."""

    name: str
    title: str


class Range(View):
    """Both ends included."""

    lowest: int
    highest: int


class AccountView(View):
    """The account, and what it allows its sessions."""

    name: str
    session_limit: int
    """Concurrent sessions; set by the operator."""
    queues: bool
    """Whether launches above the limit wait, or are refused; set by the operator."""
    webui_idle_seconds: int
    solve_idle_seconds: int
    task_idle_seconds: int
    max_session_seconds: int
    idle_range: Range
    """What the operator lets an admin choose from, for each kind's idle time."""
    max_session_range: Range


def _refuse_operators_limit(value: Any) -> None:
    if value is not None:
        raise PydanticCustomError("operator", "only the operator of the installation sets this")


OperatorsLimit = Annotated[None, BeforeValidator(_refuse_operators_limit)]


class AccountChange(Request):
    """What an admin may set; what is not named, or null, stays as it is."""

    webui_idle_seconds: int | None = None
    solve_idle_seconds: int | None = None
    task_idle_seconds: int | None = None
    max_session_seconds: int | None = None
    session_limit: OperatorsLimit = None
    """Named here to be refused in words."""
    queues: OperatorsLimit = None


class Progress(View):
    """What a procedure says of itself while it runs."""

    state: Literal["running", "solving"] = "running"
    fraction: float | None = None
    message: str | None = None
    objective: float | None = None
    bound: float | None = None
    gap: float | None = None
    elapsed: float | None = None


class TaskView(View):
    id: UUID
    app: str
    version: str
    service: str
    user: str
    state: TaskState
    outcome: Literal["completed", "interrupted"] | None = None
    problem: dict[str, Any] | None = None
    """Of a failed task: why, as an RFC 9457 problem."""
    progress: Progress | None = None
    session_id: UUID | None = None
    created_at: AwareDatetime
    assigned_at: AwareDatetime | None = None
    running_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    revision: int


InterruptScope = Literal["solve", "execution"]


class InterruptRequest(Request):
    scope: InterruptScope = "solve"
    """solve: stop the solver and keep its best result; execution: stop the procedure."""


class TicketView(View):
    url: str
    """Opens the session in a browser, once, within seconds."""
    expires_at: AwareDatetime
