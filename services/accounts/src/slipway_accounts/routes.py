"""HTTP in: the internal API, which answers the gateway and nobody else.

Every call carries the service token. A call in a user's name also carries what accounts signed
about that user; without it, or with an old one, nothing is done.
"""

import hmac
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, FastAPI, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import SecretStr

from slipway_accounts.catalogue import CatalogueService
from slipway_accounts.changes import Changes
from slipway_accounts.identity import IdentityService
from slipway_accounts.limits import LimitService
from slipway_accounts.members import MemberService
from slipway_accounts.offers import Offers
from slipway_accounts.sessions import SessionService
from slipway_accounts.tasks import TaskService
from slipway_accounts.tokens import Signer
from slipway_common.contracts.internal import (
    Assignment,
    Grant,
    Identified,
    Instruction,
    IssuedTicket,
    Launched,
    LogOnView,
    MemberGrant,
    Published,
    Route,
    TaskStart,
)
from slipway_common.contracts.packages import PackageKind
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import (
    AccountChange,
    AccountView,
    ApiKeyRequest,
    ApiKeyView,
    AppView,
    InterruptRequest,
    LaunchRequest,
    LogOn,
    PackageView,
    Principal,
    ProfileView,
    Progress,
    RuntimeView,
    ServiceView,
    SessionView,
    TaskView,
    UserRequest,
    UserView,
)
from slipway_common.web import problems
from slipway_common.web.middleware import Measured

MAX_WAIT_SECONDS = 25.0

Limit = Annotated[int, Query(ge=1, le=201)]
Offset = Annotated[int, Query(ge=0)]


def build_app(
    *,
    service_token: SecretStr,
    signer: Signer,
    identity: IdentityService,
    catalogue: CatalogueService,
    sessions: SessionService,
    tasks: TaskService,
    limits: LimitService,
    offers: Offers,
    members: MemberService,
    changes: Changes,
) -> FastAPI:
    expected = f"Bearer {service_token.get_secret_value()}".encode()

    def require_service(authorization: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(authorization.encode(), expected):
            raise problem(Code.UNAUTHENTICATED)

    def principal(slipway_identity: Annotated[str, Header()] = "") -> Principal:
        return signer.read_identity(slipway_identity)

    app = FastAPI(
        title="Slipway accounts, internal API",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(require_service)],
    )
    problems.install(app)
    app.add_middleware(Measured)
    for router in (
        _identity_routes(identity, signer, principal),
        _catalogue_routes(catalogue, principal),
        _session_routes(sessions, principal),
        _task_routes(tasks, principal),
        _offer_routes(limits, offers, principal),
        _runner_routes(sessions, tasks),
        _member_routes(members),
        _change_routes(changes),
    ):
        app.include_router(router, prefix="/internal/v1")
    return app


def _identity_routes(identity: IdentityService, signer: Signer, principal: Any) -> APIRouter:
    router = APIRouter()
    Caller = Annotated[Principal, Depends(principal)]  # noqa: N806  # it is a type

    @router.get("/keys")
    async def public_keys() -> dict[str, Any]:
        return signer.public_keys

    @router.post("/log-on")
    async def log_on(request: LogOn) -> LogOnView:
        return await identity.log_on(request)

    @router.post("/identify")
    async def identify(sha256: Annotated[str, Body(embed=True)]) -> Identified:
        return await identity.identify(bytes.fromhex(sha256))

    @router.post("/credentials/{credential_id}/revoke", status_code=204)
    async def revoke(credential_id: UUID, caller: Caller) -> None:
        await identity.revoke(caller, credential_id)

    @router.get("/api-keys")
    async def list_keys(caller: Caller) -> list[ApiKeyView]:
        return await identity.list_keys(caller)

    @router.post("/api-keys")
    async def create_key(request: ApiKeyRequest, caller: Caller) -> ApiKeyView:
        return await identity.create_key(caller, request)

    @router.get("/users")
    async def list_users(caller: Caller) -> list[UserView]:
        return await identity.list_users(caller)

    @router.post("/users")
    async def create_user(request: UserRequest, caller: Caller) -> UserView:
        return await identity.create_user(caller, request)

    @router.post("/users/{user_id}/disable", status_code=204)
    async def disable_user(user_id: UUID, caller: Caller) -> None:
        await identity.disable_user(caller, user_id)

    return router


def _catalogue_routes(catalogue: CatalogueService, principal: Any) -> APIRouter:
    router = APIRouter()
    Caller = Annotated[Principal, Depends(principal)]  # noqa: N806  # it is a type

    @router.get("/packages/{package_id}")
    async def package(package_id: UUID, caller: Caller) -> PackageView:
        return await catalogue.package(caller, package_id)

    @router.get("/published/{kind}/{name}/{version}")
    async def published(
        kind: PackageKind, name: str, version: str, caller: Caller
    ) -> Published | None:
        found = await catalogue.published(caller, kind=kind, name=name, version=version)
        return None if found is None else Published(package=found[0], upload_sha256=found[1])

    @router.get("/apps")
    async def apps(caller: Caller, limit: Limit = 50, offset: Offset = 0) -> list[AppView]:
        return await catalogue.apps(caller, limit=limit, offset=offset)

    @router.get("/apps/{name}/{version}")
    async def app(name: str, version: str, caller: Caller) -> AppView:
        return await catalogue.app(caller, name, version)

    @router.get("/runtimes")
    async def runtimes(caller: Caller, limit: Limit = 50, offset: Offset = 0) -> list[RuntimeView]:
        return await catalogue.runtimes(caller, limit=limit, offset=offset)

    return router


def _session_routes(sessions: SessionService, principal: Any) -> APIRouter:
    router = APIRouter()
    Caller = Annotated[Principal, Depends(principal)]  # noqa: N806  # it is a type

    @router.post("/sessions")
    async def launch(
        request: LaunchRequest, caller: Caller, idempotency_key: Annotated[str, Header()]
    ) -> Launched:
        return await sessions.launch(caller, request, idempotency_key)

    @router.get("/sessions")
    async def list_sessions(
        caller: Caller,
        open_only: Annotated[bool, Query(alias="open")] = False,  # noqa: FBT002  # a query
        limit: Limit = 50,
        offset: Offset = 0,
    ) -> list[SessionView]:
        return await sessions.list_sessions(caller, open_only=open_only, limit=limit, offset=offset)

    @router.get("/sessions/{session_id}")
    async def view(session_id: UUID, caller: Caller) -> SessionView:
        return await sessions.view(caller, session_id)

    @router.post("/sessions/{session_id}/ticket")
    async def issue_ticket(session_id: UUID, caller: Caller) -> IssuedTicket:
        return await sessions.issue_ticket(caller, session_id)

    @router.post("/sessions/{session_id}/redeem")
    async def redeem(session_id: UUID, ticket: Annotated[str, Body(embed=True)]) -> str:
        return await sessions.redeem_ticket(session_id, ticket)

    @router.get("/sessions/{session_id}/route")
    async def route(session_id: UUID) -> Route:
        return await sessions.route(session_id)

    return router


def _task_routes(tasks: TaskService, principal: Any) -> APIRouter:
    router = APIRouter()
    Caller = Annotated[Principal, Depends(principal)]  # noqa: N806  # it is a type

    @router.post("/tasks")
    async def start(request: TaskStart, caller: Caller) -> TaskView:
        return await tasks.start(caller, request)

    @router.get("/tasks")
    async def list_tasks(caller: Caller, limit: Limit = 50, offset: Offset = 0) -> list[TaskView]:
        return await tasks.list_tasks(caller, limit=limit, offset=offset)

    @router.get("/tasks/{task_id}")
    async def view(task_id: UUID, caller: Caller) -> TaskView:
        return await tasks.view(caller, task_id)

    @router.post("/tasks/{task_id}/interrupt")
    async def interrupt(task_id: UUID, request: InterruptRequest, caller: Caller) -> TaskView:
        return await tasks.interrupt(caller, task_id, request.scope)

    return router


def _offer_routes(limits: LimitService, offers: Offers, principal: Any) -> APIRouter:
    router = APIRouter()
    Caller = Annotated[Principal, Depends(principal)]  # noqa: N806  # it is a type

    @router.get("/profiles", dependencies=[Depends(principal)])
    async def profiles() -> list[ProfileView]:
        return offers.profile_views()

    @router.get("/services", dependencies=[Depends(principal)])
    async def services() -> list[ServiceView]:
        return offers.service_views()

    @router.get("/account")
    async def account(caller: Caller) -> AccountView:
        return await limits.view(caller)

    @router.patch("/account")
    async def change_account(request: AccountChange, caller: Caller) -> AccountView:
        return await limits.change(caller, request)

    return router


def _runner_routes(sessions: SessionService, tasks: TaskService) -> APIRouter:
    """The gateway has checked the runner's own token: a runner speaks for its session only."""
    router = APIRouter(prefix="/runners/{session_id}")

    @router.post("/claim")
    async def claim(session_id: UUID, claim_id: Annotated[UUID, Body(embed=True)]) -> Grant:
        return await sessions.claim(session_id, claim_id)

    @router.post("/say", status_code=204)
    async def say(session_id: UUID, message: Annotated[str, Body(embed=True)]) -> None:
        await sessions.say(session_id, message[:200])

    @router.post("/next-task")
    async def next_task(
        session_id: UUID, wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS)] = 0
    ) -> Response:
        assignment: Assignment | None = await tasks.next_task(session_id, wait_seconds=wait)
        if assignment is None:
            return Response(status_code=204)
        return Response(assignment.model_dump_json(), media_type="application/json")

    @router.get("/tasks/{task_id}")
    async def held(session_id: UUID, task_id: UUID) -> Assignment:
        return await tasks.held(session_id, task_id)

    @router.post("/tasks/{task_id}/progress")
    async def progress(
        session_id: UUID, task_id: UUID, progress: Annotated[Progress | None, Body()] = None
    ) -> Instruction:
        return await tasks.progress(session_id, task_id, progress)

    @router.post("/tasks/{task_id}/complete", status_code=204)
    async def complete(
        session_id: UUID, task_id: UUID, outcome: Annotated[str, Body(embed=True)]
    ) -> None:
        await tasks.complete(session_id, task_id, outcome)

    @router.post("/tasks/{task_id}/fail", status_code=204)
    async def fail(
        session_id: UUID,
        task_id: UUID,
        found: Annotated[dict[str, Any], Body(alias="problem", embed=True)],
    ) -> None:
        await tasks.fail(session_id, task_id, found)

    return router


def _member_routes(members: MemberService) -> APIRouter:
    """The gateway has checked the member's own token, which names account and runtime."""
    router = APIRouter(prefix="/members")

    @router.get("/runtime")
    async def runtime(account_id: UUID, runtime: str) -> MemberGrant:
        return await members.runtime(account_id, runtime)

    return router


def _change_routes(changes: Changes) -> APIRouter:
    router = APIRouter()

    @router.get("/changes")
    async def follow() -> StreamingResponse:
        """Lines ``TABLE ID``, as rows change; ``*`` after a gap."""

        async def lines() -> AsyncIterator[bytes]:
            with changes.listen() as listener:
                yield b"*\n"
                async for hint in listener.hints():
                    yield f"{hint}\n".encode()

        return StreamingResponse(lines(), media_type="text/plain")

    return router
