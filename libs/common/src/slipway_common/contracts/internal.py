"""What the internal API of accounts answers beyond what callers are shown."""

from uuid import UUID

from pydantic import AwareDatetime

from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import (
    InterruptScope,
    PackageView,
    Principal,
    SessionState,
    SessionView,
    View,
)


class LogOnView(View):
    """The secret goes into a cookie and nowhere else."""

    secret: str
    principal: Principal


class Identified(View):
    """Who asks, and accounts' signature under it for the calls that follow."""

    principal: Principal
    token: str
    lifetime_seconds: int


class Published(View):
    """The package that has a name and version already."""

    package: PackageView
    upload_sha256: str


class Launched(View):
    """A session that was asked for, and the version that ``latest`` stood for."""

    session: SessionView
    app: str
    version: str


class IssuedTicket(View):
    secret: str
    expires_at: AwareDatetime


class Route(View):
    """Where a session answers, and whose it is."""

    session_id: UUID
    account_id: UUID
    state: SessionState
    address: str | None
    unit: str | None


class PackageGrant(View):
    id: UUID
    name: str
    version: str
    blob: str
    sha256: str
    size_bytes: int


class Grant(View):
    """What one runner, and no other, may fetch and decrypt."""

    session_id: UUID
    account_id: UUID
    kind: SessionKind
    app: PackageGrant | None
    """None of an external session: it brings its own container."""
    runtime: PackageGrant | None


class TaskStart(View):
    """A task that the gateway wants queued; its body lies in the blob already."""

    id: UUID
    app: str
    version: str
    service: str
    time_limit_seconds: int
    key: str
    request_sha256: str
    """Hex digest of app, version, service and body: what the key stands for."""


class Assignment(View):
    """One task for one session."""

    task_id: UUID
    account_id: UUID
    service: str
    time_limit_seconds: int


class Instruction(View):
    """What a running task is asked to do."""

    interrupt: InterruptScope | None


class RunnerGrant(View):
    """What the gateway hands to a runner: never logged, never stored."""

    grant: Grant
    app_key: str | None
    """Base64 of the data key of the app's blob; None if there is none."""
    runtime_key: str | None
    session_secret: str
    """What the gateway shows to the session with every request that it passes on."""


class MemberGrant(View):
    """What a runner that waits in a pool may fetch: the runtime of the sessions to come."""

    account_id: UUID
    runtime: PackageGrant


class RunnerMemberGrant(View):
    """The same with its key, as the gateway hands it out: never logged, never stored."""

    grant: MemberGrant
    runtime_key: str


class Activation(View):
    """What a waiting runner is told when it becomes a session; travels encrypted."""

    session_id: UUID
    token: str
    """What it calls home with from now on."""

    idle_seconds: int


class SessionUse(View):
    """What a session uses at this moment, as its runner reads it from the kernel."""

    memory_mib: int
    peak_memory_mib: int
    memory_limit_mib: int | None
    """None: unlimited, or not to be found out."""

    cpu_seconds: float
    cpu_limit_millis: int | None
    processes: int
