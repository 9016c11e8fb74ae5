"""An accounts service that lives in memory, held to the methods of the real client, and a portal.

Everything else is real: routes, identities, cookies, sessions, pages.
"""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI
from starlette.testclient import TestClient
from typing_extensions import override

from slipway_common.blobs.store import BlobMissingError
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.base import Event
from slipway_common.contracts.internal import (
    Identified,
    IssuedTicket,
    Launched,
    LogOnView,
    SessionUse,
)
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import (
    AccountChange,
    AccountView,
    ApiKeyRequest,
    ApiKeyView,
    AppView,
    InterruptRequest,
    LaunchRequest,
    LogOn,
    Principal,
    Range,
    ServiceView,
    SessionState,
    SessionStep,
    SessionView,
    TaskView,
)
from slipway_common.errors import TransientError
from slipway_common.kafka.publisher import Publisher
from slipway_common.web import problems
from slipway_gateway import portal
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.cookies import LogOnCookie
from slipway_gateway.identity import Identities
from slipway_gateway.pages import Pages
from slipway_gateway.portal.failures import PageRoute
from slipway_gateway.routes import sessions as session_routes
from slipway_gateway.sessions import SessionService

PUBLIC_URL = "http://portal.test"
SESSIONS_HOST = "sessions.test:8080"
PASSWORD = "correct horse battery"
SECRET = "log-on-secret"
COOKIE = LogOnCookie(secure=False)
NOW = datetime.now(UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def principal(**changes: Any) -> Principal:
    fields: dict[str, Any] = {
        "account_id": UUID(int=1),
        "account": "northwind",
        "user_id": UUID(int=2),
        "user": "ada",
        "credential_id": UUID(int=3),
        "admin": False,
        "publisher": False,
        "scopes": ("read", "launch", "tasks", "publish", "admin"),
        "expires_at": NOW + timedelta(hours=8),
    }
    return Principal(**fields | changes)


def app_view(name: str = "depots", version: str = "1.0.0", **changes: Any) -> AppView:
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "title": name.title(),
        "description": "Where to build.",
        "category": "Logistics",
        "runtime": "1.0",
        "services": (),
        "latest": True,
        "published_at": ago(86400),
        "package_id": uuid4(),
    }
    return AppView(**fields | changes)


def session_view(state: SessionState = SessionState.RUNNING, **changes: Any) -> SessionView:
    fields: dict[str, Any] = {
        "id": uuid4(),
        "kind": SessionKind.WEBUI,
        "app": "depots",
        "version": "1.0.0",
        "user": "ada",
        "state": state,
        "created_at": ago(60),
        "revision": 3,
        "steps": (
            SessionStep(at=ago(60), state=SessionState.REQUESTED),
            SessionStep(at=ago(50), state=state, message=str(changes.get("message", ""))),
        ),
    }
    return SessionView(**fields | changes)


def task_view(state: TaskState = TaskState.SOLVING, **changes: Any) -> TaskView:
    fields: dict[str, Any] = {
        "id": uuid4(),
        "app": "depots",
        "version": "1.0.0",
        "service": "solve",
        "user": "ada",
        "state": state,
        "created_at": ago(90),
        "revision": 2,
    }
    return TaskView(**fields | changes)


def account_view(**changes: Any) -> AccountView:
    fields: dict[str, Any] = {
        "name": "northwind",
        "session_limit": 10,
        "queues": True,
        "webui_idle_seconds": 900,
        "solve_idle_seconds": 900,
        "task_idle_seconds": 60,
        "max_session_seconds": 43200,
        "idle_range": Range(lowest=5, highest=86400),
        "max_session_range": Range(lowest=60, highest=604800),
    }
    return AccountView(**fields | changes)


class FakeAccounts(AccountsClient):
    def __init__(self) -> None:
        self.me = principal()
        self.catalogue: list[AppView] = [app_view()]
        self.known: dict[UUID, SessionView] = {}
        self.work: dict[UUID, TaskView] = {}
        self.keys: list[ApiKeyView] = []
        self.launches: dict[str, tuple[LaunchRequest, UUID]] = {}
        self.interrupted: list[tuple[UUID, str]] = []
        self.revoked: list[UUID] = []
        self.offered: list[ServiceView] = []
        self.limits = account_view()
        self.away = False

    def _answer(self) -> None:
        if self.away:
            raise TransientError("accounts does not answer")

    @override
    async def log_on(self, request: LogOn) -> LogOnView:
        self._answer()
        if request.password != PASSWORD:
            raise problem(Code.WRONG_PASSWORD)
        return LogOnView(secret=SECRET, principal=self.me)

    @override
    async def identify(self, sha256: bytes) -> Identified:
        self._answer()
        if sha256 != hashlib.sha256(SECRET.encode()).digest():
            raise problem(Code.UNAUTHENTICATED)
        return Identified(principal=self.me, token="signed", lifetime_seconds=60)

    @override
    async def revoke(self, identity: str, credential_id: UUID) -> None:
        self._answer()
        self.revoked.append(credential_id)

    @override
    async def api_keys(self, identity: str) -> list[ApiKeyView]:
        self._answer()
        return self.keys

    @override
    async def create_key(self, identity: str, request: ApiKeyRequest) -> ApiKeyView:
        self._answer()
        made = ApiKeyView(
            id=uuid4(),
            name=request.name,
            scopes=request.scopes,
            created_at=NOW,
            expires_at=NOW + timedelta(days=request.expires_in_days),
        )
        self.keys.append(made)
        return made.model_copy(update={"key": "slp_shown-once"})

    @override
    async def services(self, identity: str) -> list[ServiceView]:
        self._answer()
        return self.offered

    @override
    async def account(self, identity: str) -> AccountView:
        self._answer()
        return self.limits

    @override
    async def change_account(self, identity: str, change: AccountChange) -> AccountView:
        self._answer()
        wanted = change.model_dump(exclude_none=True)
        for name, value in wanted.items():
            if not 5 <= value <= 86400:
                raise problem(Code.LIMIT_OUT_OF_RANGE, f"{name} may be 5 to 86400.", field=name)
        self.limits = self.limits.model_copy(update=wanted)
        return self.limits

    @override
    async def apps(self, identity: str, *, limit: int, offset: int) -> list[AppView]:
        self._answer()
        return self.catalogue[offset : offset + limit]

    @override
    async def app(self, identity: str, name: str, version: str) -> AppView:
        self._answer()
        for app in self.catalogue:
            if app.name == name and (app.latest if version == "latest" else app.version == version):
                return app
        raise problem(Code.APP_NOT_FOUND)

    @override
    async def launch(self, identity: str, request: LaunchRequest, *, key: str) -> Launched:
        self._answer()
        if key not in self.launches:
            session = session_view(
                SessionState.REQUESTED,
                kind=request.kind,
                app=request.app or request.service,
                service=request.service,
                version=request.version,
            )
            self.known[session.id] = session
            self.launches[key] = (request, session.id)
        known, session_id = self.launches[key]
        if known != request:
            raise problem(Code.KEY_REUSED)
        session = self.known[session_id]
        return Launched(session=session, app=session.app, version=session.version)

    @override
    async def sessions(
        self, identity: str, *, open_only: bool, limit: int, offset: int
    ) -> list[SessionView]:
        self._answer()
        found = [s for s in self.known.values() if not (open_only and s.state.over)]
        return found[offset : offset + limit]

    @override
    async def session(self, identity: str, session_id: UUID) -> SessionView:
        self._answer()
        if session_id not in self.known:
            raise problem(Code.NOT_FOUND)
        return self.known[session_id]

    @override
    async def issue_ticket(self, identity: str, session_id: UUID) -> IssuedTicket:
        session = await self.session(identity, session_id)
        if session.state.over:
            raise problem(Code.SESSION_OVER)
        if session.state is not SessionState.RUNNING:
            raise problem(Code.SESSION_NOT_READY)
        return IssuedTicket(secret="one-time", expires_at=NOW + timedelta(minutes=1))

    @override
    async def tasks(self, identity: str, *, limit: int, offset: int) -> list[TaskView]:
        self._answer()
        return list(self.work.values())[offset : offset + limit]

    @override
    async def interrupt(self, identity: str, task_id: UUID, request: InterruptRequest) -> TaskView:
        self._answer()
        if task_id not in self.work:
            raise problem(Code.NOT_FOUND)
        if self.work[task_id].state.over:
            raise problem(Code.TASK_OVER)
        self.interrupted.append((task_id, request.scope))
        return self.work[task_id]

    @override
    async def changes(self) -> AsyncIterator[str]:
        self._answer()
        yield "*"


class FakePublisher(Publisher):
    def __init__(self) -> None:
        self.published: list[Event] = []

    @override
    async def publish(self, event: Event) -> None:
        self.published.append(event)


class FakeVault(Vault):
    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    @override
    async def get(self, account_id: UUID, name: str) -> bytes:
        if name not in self.blobs:
            raise BlobMissingError(name)
        return self.blobs[name]


@dataclass
class Platform:
    """The portal on a fake accounts service; ``browser`` is logged on, ``stranger`` is not."""

    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    publisher: FakePublisher = field(default_factory=FakePublisher)
    vault: FakeVault = field(default_factory=FakeVault)
    public_url: str = PUBLIC_URL
    sessions_host: str = SESSIONS_HOST

    def __post_init__(self) -> None:
        identities = Identities(self.accounts, public_url=self.public_url, cookie=COOKIE.name)
        service = SessionService(
            self.accounts, self.publisher, sessions_host=self.sessions_host, secure=False
        )
        self.changes = Changes(self.accounts)
        self.app = FastAPI(docs_url=None, redoc_url=None)
        self.app.state.identities = identities
        problems.install(self.app)
        self.app.include_router(
            session_routes.build(self.accounts, identities, service, self.vault, self.changes),
            prefix="/api/v1",
        )
        self.uses: dict[UUID, SessionUse] = {}
        self.app.add_api_route("/api/v1/sessions/{session_id}/use", self._use)
        portal.install(self.app, self.accounts, identities, service, COOKIE, Pages())
        self.stranger = self._client()
        self.browser = self._client()
        self.browser.cookies.set(COOKIE.name, SECRET)

    async def _use(self, session_id: UUID) -> SessionUse:
        if session_id not in self.uses:
            raise problem(Code.SESSION_UNREACHABLE)
        return self.uses[session_id]

    def _client(self) -> TestClient:
        return TestClient(
            self.app,
            base_url=self.public_url,
            headers={"Origin": self.public_url, "Accept": "text/html"},
            follow_redirects=False,
            raise_server_exceptions=False,
        )

    @property
    def forms(self) -> set[str]:
        """Paths of all that the portal lets a browser send."""
        return {
            route.path
            for included in self.app.router.routes
            for route in getattr(getattr(included, "original_router", None), "routes", ())
            if isinstance(route, PageRoute) and "POST" in (route.methods or ())
        }

    def add(self, *views: SessionView | TaskView) -> None:
        for view in views:
            if isinstance(view, SessionView):
                self.accounts.known[view.id] = view
            else:
                self.accounts.work[view.id] = view
