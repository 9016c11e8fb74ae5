"""The gateway's way to accounts: typed calls over one pooled connection set.

A problem that accounts states travels on unchanged; accounts being away is a TransientError,
which the caller sees as 503 with Retry-After.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

import aiohttp
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from yarl import URL

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
from slipway_common.contracts.problems import Problem, ProblemError
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
    ProfileView,
    Progress,
    RuntimeView,
    ServiceView,
    SessionView,
    TaskView,
    UserRequest,
    UserView,
)
from slipway_common.errors import TransientError

T = TypeVar("T")

CALL_SECONDS = 10.0
CONNECTIONS = 200

_KEYS = TypeAdapter(dict[str, Any])
_TEXT = TypeAdapter(str)
_API_KEYS = TypeAdapter(list[ApiKeyView])
_USERS = TypeAdapter(list[UserView])
_APPS = TypeAdapter(list[AppView])
_RUNTIMES = TypeAdapter(list[RuntimeView])
_SESSIONS = TypeAdapter(list[SessionView])
_TASKS = TypeAdapter(list[TaskView])
_PROFILES = TypeAdapter(list[ProfileView])
_SERVICES = TypeAdapter(list[ServiceView])
_PUBLISHED: TypeAdapter[Published | None] = TypeAdapter(Published | None)


class AccountsClient:
    def __init__(self, url: str, service_token: SecretStr) -> None:
        self._url = url.rstrip("/") + "/internal/v1"
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {service_token.get_secret_value()}"},
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=2),
        )

    async def close(self) -> None:
        await self._http.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        identity: str | None = None,
        body: BaseModel | dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> bytes:
        sent = dict(headers or {})
        if identity is not None:
            sent["Slipway-Identity"] = identity
        json = body.model_dump(mode="json") if isinstance(body, BaseModel) else body
        try:
            async with self._http.request(
                method,
                URL(self._url + path, encoded=True),
                json=json,
                params=params,
                headers=sent,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=2),
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError(f"accounts does not answer: {type(error).__name__}") from error
        if answer.status >= 400:
            raise _problem(answer.status, content)
        return content

    async def _get(
        self,
        adapter: TypeAdapter[T],
        path: str,
        *,
        identity: str | None = None,
        params: dict[str, str] | None = None,
    ) -> T:
        return adapter.validate_json(
            await self._call("GET", path, identity=identity, params=params)
        )

    # Identity

    async def public_keys(self) -> dict[str, Any]:
        return await self._get(_KEYS, "/keys")

    async def log_on(self, request: LogOn) -> LogOnView:
        return LogOnView.model_validate_json(await self._call("POST", "/log-on", body=request))

    async def identify(self, sha256: bytes) -> Identified:
        content = await self._call("POST", "/identify", body={"sha256": sha256.hex()})
        return Identified.model_validate_json(content)

    async def revoke(self, identity: str, credential_id: UUID) -> None:
        await self._call("POST", f"/credentials/{credential_id}/revoke", identity=identity)

    async def api_keys(self, identity: str) -> list[ApiKeyView]:
        return await self._get(_API_KEYS, "/api-keys", identity=identity)

    async def create_key(self, identity: str, request: ApiKeyRequest) -> ApiKeyView:
        content = await self._call("POST", "/api-keys", identity=identity, body=request)
        return ApiKeyView.model_validate_json(content)

    async def users(self, identity: str) -> list[UserView]:
        return await self._get(_USERS, "/users", identity=identity)

    async def create_user(self, identity: str, request: UserRequest) -> UserView:
        content = await self._call("POST", "/users", identity=identity, body=request)
        return UserView.model_validate_json(content)

    async def disable_user(self, identity: str, user_id: UUID) -> None:
        await self._call("POST", f"/users/{user_id}/disable", identity=identity)

    # What the operator offers, and what the account allows

    async def profiles(self, identity: str) -> list[ProfileView]:
        return await self._get(_PROFILES, "/profiles", identity=identity)

    async def services(self, identity: str) -> list[ServiceView]:
        return await self._get(_SERVICES, "/services", identity=identity)

    async def account(self, identity: str) -> AccountView:
        content = await self._call("GET", "/account", identity=identity)
        return AccountView.model_validate_json(content)

    async def change_account(self, identity: str, change: AccountChange) -> AccountView:
        content = await self._call("PATCH", "/account", identity=identity, body=change)
        return AccountView.model_validate_json(content)

    # Catalogue

    async def package(self, identity: str, package_id: UUID) -> PackageView:
        content = await self._call("GET", f"/packages/{package_id}", identity=identity)
        return PackageView.model_validate_json(content)

    async def published(
        self, identity: str, *, kind: PackageKind, name: str, version: str
    ) -> Published | None:
        return await self._get(
            _PUBLISHED, f"/published/{kind}/{_part(name)}/{_part(version)}", identity=identity
        )

    async def apps(self, identity: str, *, limit: int, offset: int) -> list[AppView]:
        return await self._get(_APPS, "/apps", identity=identity, params=_page(limit, offset))

    async def app(self, identity: str, name: str, version: str) -> AppView:
        content = await self._call(
            "GET", f"/apps/{_part(name)}/{_part(version)}", identity=identity
        )
        return AppView.model_validate_json(content)

    async def runtimes(self, identity: str, *, limit: int, offset: int) -> list[RuntimeView]:
        return await self._get(
            _RUNTIMES, "/runtimes", identity=identity, params=_page(limit, offset)
        )

    # Sessions

    async def launch(self, identity: str, request: LaunchRequest, *, key: str) -> Launched:
        content = await self._call(
            "POST",
            "/sessions",
            identity=identity,
            body=request,
            headers={"Idempotency-Key": key},
        )
        return Launched.model_validate_json(content)

    async def sessions(
        self, identity: str, *, open_only: bool, limit: int, offset: int
    ) -> list[SessionView]:
        params = _page(limit, offset) | {"open": str(open_only).lower()}
        return await self._get(_SESSIONS, "/sessions", identity=identity, params=params)

    async def session(self, identity: str, session_id: UUID) -> SessionView:
        content = await self._call("GET", f"/sessions/{session_id}", identity=identity)
        return SessionView.model_validate_json(content)

    async def issue_ticket(self, identity: str, session_id: UUID) -> IssuedTicket:
        content = await self._call("POST", f"/sessions/{session_id}/ticket", identity=identity)
        return IssuedTicket.model_validate_json(content)

    async def redeem_ticket(self, session_id: UUID, ticket: str) -> str:
        content = await self._call(
            "POST", f"/sessions/{session_id}/redeem", body={"ticket": ticket}
        )
        return _TEXT.validate_json(content)

    async def route(self, session_id: UUID) -> Route:
        return Route.model_validate_json(await self._call("GET", f"/sessions/{session_id}/route"))

    # Tasks

    async def start_task(self, identity: str, request: TaskStart) -> TaskView:
        content = await self._call("POST", "/tasks", identity=identity, body=request)
        return TaskView.model_validate_json(content)

    async def tasks(self, identity: str, *, limit: int, offset: int) -> list[TaskView]:
        return await self._get(_TASKS, "/tasks", identity=identity, params=_page(limit, offset))

    async def task(self, identity: str, task_id: UUID) -> TaskView:
        content = await self._call("GET", f"/tasks/{task_id}", identity=identity)
        return TaskView.model_validate_json(content)

    async def interrupt(self, identity: str, task_id: UUID, request: InterruptRequest) -> TaskView:
        content = await self._call(
            "POST", f"/tasks/{task_id}/interrupt", identity=identity, body=request
        )
        return TaskView.model_validate_json(content)

    # Runners

    async def claim(self, session_id: UUID, claim_id: UUID) -> Grant:
        content = await self._call(
            "POST", f"/runners/{session_id}/claim", body={"claim_id": str(claim_id)}
        )
        return Grant.model_validate_json(content)

    async def member_grant(self, account_id: UUID, runtime: str) -> MemberGrant:
        content = await self._call(
            "GET",
            "/members/runtime",
            params={"account_id": str(account_id), "runtime": runtime},
        )
        return MemberGrant.model_validate_json(content)

    async def say(self, session_id: UUID, message: str) -> None:
        await self._call("POST", f"/runners/{session_id}/say", body={"message": message})

    async def next_task(self, session_id: UUID, *, wait: float) -> Assignment | None:
        content = await self._call(
            "POST",
            f"/runners/{session_id}/next-task",
            params={"wait": str(wait)},
            seconds=wait + CALL_SECONDS,
        )
        return Assignment.model_validate_json(content) if content else None

    async def held_task(self, session_id: UUID, task_id: UUID) -> Assignment:
        content = await self._call("GET", f"/runners/{session_id}/tasks/{task_id}")
        return Assignment.model_validate_json(content)

    async def progress(
        self, session_id: UUID, task_id: UUID, progress: Progress | None
    ) -> Instruction:
        content = await self._call(
            "POST", f"/runners/{session_id}/tasks/{task_id}/progress", body=progress
        )
        return Instruction.model_validate_json(content)

    async def complete(self, session_id: UUID, task_id: UUID, outcome: str) -> None:
        await self._call(
            "POST", f"/runners/{session_id}/tasks/{task_id}/complete", body={"outcome": outcome}
        )

    async def fail(self, session_id: UUID, task_id: UUID, found: dict[str, Any]) -> None:
        await self._call(
            "POST", f"/runners/{session_id}/tasks/{task_id}/fail", body={"problem": found}
        )

    async def changes(self) -> AsyncIterator[str]:
        """Yield hints ``TABLE ID`` until the connection breaks."""
        try:
            async with self._http.get(
                self._url + "/changes",
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=2),
            ) as answer:
                if answer.status >= 400:
                    raise TransientError(f"accounts answered {answer.status}")
                async for line in answer.content:
                    yield line.decode().strip()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise TransientError("lost the stream of changes") from error


def _part(text: str) -> str:
    """A name as one part of a path, whatever it holds."""
    return quote(text, safe="")


def _page(limit: int, offset: int) -> dict[str, str]:
    return {"limit": str(limit), "offset": str(offset)}


def _problem(status: int, content: bytes) -> Exception:
    try:
        found = Problem.model_validate_json(content)
    except ValidationError:
        return TransientError(f"accounts answered {status}")
    if status == 503:
        return TransientError(found.detail or found.title)
    return ProblemError(found)
