"""What callers are shown: the bodies of the public API, and of the internal one behind it."""

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from slipway_common.contracts.packages import PackageKind, Reason, ServiceFacts
from slipway_common.contracts.sessions import EndReason, SessionKind
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
    app: Name
    version: Version = "latest"


class SessionStep(View):
    """One line of a session's story."""

    at: AwareDatetime
    state: SessionState
    message: str = ""


class SessionView(View):
    id: UUID
    kind: SessionKind
    app: str
    version: str
    user: str
    state: SessionState
    queue_position: int | None = None
    """Of a queued session, counted from 1."""
    message: str = ""
    """What is going on, or why it is over, in words for its user."""
    reason: EndReason | None = None
    created_at: AwareDatetime
    running_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    peak_memory_mib: int | None = None
    revision: int
    """Grows with each change: of two views the higher one is the newer."""
    steps: tuple[SessionStep, ...] = ()


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
