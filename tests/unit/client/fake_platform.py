"""A platform that plays docs/api.md on a real socket, and fails where a test tells it to."""

import asyncio
import hashlib
import json
import threading
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from slipway_common.contracts.problems import Code

NOW = "2026-05-04T10:00:00Z"
LATER = "2126-05-04T10:00:00Z"
KEY = "slw_secret-key"
PASSWORD = "correct horse battery"
CUT = "cut"
HOLD = "hold"


def refusal(code: Code, detail: str = "So it is.", **headers: str) -> Response:
    return JSONResponse(
        {"type": code.type, "title": code.title, "status": int(code.status), "detail": detail},
        status_code=int(code.status),
        media_type="application/problem+json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


async def _half() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.sleep(0)
    raise ConnectionError


def dropped() -> Response:
    """An answer whose connection breaks in its middle."""
    return StreamingResponse(_half(), media_type="application/json")


def session_view(state: str, revision: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "kind": "webui",
        "app": "depots",
        "version": "1.0.0",
        "user": "ann",
        "state": state,
        "created_at": NOW,
        "revision": revision,
        **more,
    }


def task_view(state: str, revision: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "app": "depots",
        "version": "1.0.0",
        "service": "solve",
        "user": "ann",
        "state": state,
        "created_at": NOW,
        "revision": revision,
        **more,
    }


def package_view(state: str, revision: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "kind": "app",
        "name": "depots",
        "version": "1.0.0",
        "state": state,
        "created_at": NOW,
        "revision": revision,
        **more,
    }


def app_view(name: str, version: str, package_id: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "title": name.title(),
        "description": "",
        "category": "other",
        "runtime": "1.0",
        "services": [{"name": "solve", "title": "Solve"}],
        "latest": True,
        "published_at": NOW,
        "package_id": package_id,
    }


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    query: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class FakePlatform:
    seal_pem: bytes = b""
    seen: list[Seen] = field(default_factory=list)
    scripts: dict[tuple[str, str], list[Response | Callable[[], Response]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Answers to give instead, one for each request, before the normal ones."""
    feeds: dict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(list))
    """By the id of a thing: what each connection to its live feed tells."""
    items: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: defaultdict(dict))
    results: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    uses: dict[str, list[Response]] = field(default_factory=dict)
    account: dict[str, Any] = field(
        default_factory=lambda: {
            "name": "acme",
            "session_limit": 10,
            "queues": True,
            "webui_idle_seconds": 900,
            "solve_idle_seconds": 900,
            "task_idle_seconds": 60,
            "max_session_seconds": 43200,
            "idle_range": {"lowest": 5, "highest": 86400},
            "max_session_range": {"lowest": 60, "highest": 604800},
        }
    )
    principal: dict[str, Any] = field(
        default_factory=lambda: {
            "account_id": str(UUID(int=1)),
            "account": "acme",
            "user_id": str(UUID(int=2)),
            "user": "ann",
            "credential_id": str(UUID(int=3)),
            "admin": True,
            "publisher": True,
            "scopes": ["read", "launch", "tasks", "publish", "admin"],
            "expires_at": LATER,
        }
    )
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, kind: str, view: dict[str, Any], *feeds: list[Any]) -> dict[str, Any]:
        self.items[kind][view["id"]] = view
        self.feeds[view["id"]].extend(list(feeds))
        return view

    def script(self, method: str, path: str, *answers: Response | Callable[[], Response]) -> None:
        self.scripts[method, path].extend(answers)

    def count(self, method: str, path: str) -> int:
        return sum(each.method == method and each.path == path for each in self.seen)

    def of(self, method: str, path: str) -> list[Seen]:
        return [each for each in self.seen if (each.method, each.path) == (method, path)]

    def wait_for(self, method: str, path: str, times: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count(method, path) >= times, timeout=20)


class FakeServer:
    """One server for all tests; each test has a platform of its own behind it."""

    def __init__(self) -> None:
        self.platform = FakePlatform()
        handlers = [
            Route(
                "/api/v1/{rest:path}",
                self._answer,
                methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            ),
        ]
        self._server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=handlers),
                port=0,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_level="critical",
            )
        )
        self._thread = threading.Thread(target=self._server.run)

    def start(self) -> None:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    async def _answer(self, request: Request) -> Response:
        platform = self.platform
        path = "/" + request.path_params["rest"]
        body = await request.body()
        seen = Seen(request.method, path, dict(request.headers), dict(request.query_params), body)
        with platform.changed:
            platform.seen.append(seen)
            platform.changed.notify_all()
        if script := platform.scripts.get((request.method, path)):
            answer = script.pop(0)
            return answer() if callable(answer) and not isinstance(answer, Response) else answer
        return _route(platform, request, seen)


def _route(platform: FakePlatform, request: Request, seen: Seen) -> Response:
    parts = seen.path.strip("/").split("/")
    if (answer := _open_to_all(platform, seen, parts)) is not None:
        return answer
    if seen.headers.get("authorization") != f"Bearer {KEY}" and not request.cookies:
        return refusal(Code.UNAUTHENTICATED)
    if seen.method == "GET" and parts[-1] == "events" and platform.feeds[parts[1]]:
        told = platform.feeds[parts[1]].pop(0)
        events = _events(request, parts[0].removesuffix("s"), told)
        return StreamingResponse(events, media_type="text/event-stream")
    for routes in (_identity, _catalogue, _work, _things):
        if (answer := routes(platform, seen, parts)) is not None:
            return answer
    return refusal(Code.NOT_FOUND)


def _open_to_all(platform: FakePlatform, seen: Seen, parts: list[str]) -> Response | None:
    match seen.method, parts:
        case "GET", ["seal"]:
            return Response(platform.seal_pem, media_type="application/x-pem-file")
        case "POST", ["login"]:
            if seen.json["password"] != PASSWORD:
                return refusal(Code.WRONG_PASSWORD)
            answer = JSONResponse({"principal": platform.principal})
            answer.set_cookie("slipway", "cookie", secure=True, httponly=True)
            return answer
    return None


def _identity(platform: FakePlatform, seen: Seen, parts: list[str]) -> Response | None:
    match seen.method, parts:
        case "POST", ["logout"]:
            return Response(status_code=204)
        case "GET", ["me"]:
            return JSONResponse(platform.principal)
        case "POST", ["api-keys"]:
            key = {"id": str(uuid4()), "created_at": NOW, "expires_at": LATER, **seen.json}
            platform.add("api-keys", key)
            return JSONResponse({**key, "key": KEY}, status_code=201)
        case "POST", ["users"]:
            user = {"id": str(uuid4()), "created_at": NOW, "disabled": False, **seen.json}
            del user["password"]
            return JSONResponse(platform.add("users", user), status_code=201)
        case "DELETE", ["api-keys", identity]:
            known = platform.items["api-keys"].pop(identity, None)
            return Response(status_code=204) if known else refusal(Code.NOT_FOUND)
        case "GET", ["account"]:
            return JSONResponse(platform.account)
        case "PATCH", ["account"]:
            platform.account |= seen.json
            return JSONResponse(platform.account)
        case "POST", ["users", identity, "disable"]:
            platform.items["users"][identity]["disabled"] = True
            return Response(status_code=204)
    return None


def _catalogue(platform: FakePlatform, seen: Seen, parts: list[str]) -> Response | None:
    match seen.method, parts:
        case "GET", ["apps", name, version]:
            for app in platform.items["apps"].values():
                if app["name"] == name and version in {app["version"], "latest"}:
                    return JSONResponse(app)
            return refusal(Code.APP_NOT_FOUND)
        case "PUT", ["apps", name, version]:
            return _upload(platform, seen, kind="app", name=name, version=version)
        case "PUT", ["runtimes", identity]:
            return _upload(platform, seen, kind="runtime", name=identity, version="1.0.0.1")
    return None


def _work(platform: FakePlatform, seen: Seen, parts: list[str]) -> Response | None:
    match seen.method, parts:
        case "POST", ["sessions"]:
            for view in platform.items["sessions"].values():
                if view["state"] == "requested":
                    return JSONResponse(view, status_code=202)
            return refusal(Code.APP_NOT_FOUND)
        case "POST", ["sessions", identity, "ticket"]:
            return JSONResponse({"url": f"https://s.test/{identity}", "expires_at": LATER})
        case "GET", ["sessions", identity, "use"]:
            use = platform.uses[identity]
            return use.pop(0) if len(use) > 1 else use[0]
        case "GET", ["sessions", identity, "log"]:
            log = platform.logs[identity]
            return PlainTextResponse(log.pop(0) if len(log) > 1 else log[0])
        case "POST", ["tasks", app, _, service]:
            for view in platform.items["tasks"].values():
                if view["state"] == "queued" and (view["app"], view["service"]) == (app, service):
                    return JSONResponse(view, status_code=202)
            return refusal(Code.SERVICE_NOT_FOUND)
        case "GET", ["tasks", identity, "response"]:
            result = platform.results[identity]
            return result if isinstance(result, Response) else JSONResponse(result)
    return None


_LISTS = {
    "api-keys", "users", "apps", "runtimes", "sessions", "tasks", "services", "profiles",
}  # fmt: skip


def _things(platform: FakePlatform, seen: Seen, parts: list[str]) -> Response | None:
    match seen.method, parts:
        case "GET", [kind] if kind in _LISTS:
            return _page(platform, kind, seen.query)
        case "GET", [("sessions" | "tasks" | "packages") as kind, identity]:
            known = platform.items[kind].get(identity)
            return JSONResponse(known) if known else refusal(Code.NOT_FOUND)
        case "POST", [("sessions" | "tasks") as kind, identity, "stop" | "interrupt"]:
            known = platform.items[kind].get(identity)
            return JSONResponse(known, status_code=202) if known else refusal(Code.NOT_FOUND)
    return None


def _page(platform: FakePlatform, kind: str, query: dict[str, str]) -> Response:
    items = list(platform.items[kind].values())
    if query.get("open") == "true":
        items = [each for each in items if each["state"] not in {"ended", "failed", "refused"}]
    start = int(query.get("cursor", "0"))
    end = start + min(int(query.get("limit", "50")), 2)
    return JSONResponse({"items": items[start:end], "next": str(end) if end < len(items) else None})


def _upload(platform: FakePlatform, seen: Seen, *, kind: str, name: str, version: str) -> Response:
    digest = b64encode(hashlib.sha256(seen.body).digest()).decode()
    if seen.headers.get("repr-digest") != f"sha-256=:{digest}:":
        return refusal(Code.DIGEST_MISMATCH)
    if "content-length" not in seen.headers:
        return refusal(Code.TRUNCATED)
    waiting = [each for each in platform.items["packages"].values() if each["state"] != "ready"]
    view = {**waiting[0], "kind": kind, "name": name, "version": version}
    return JSONResponse(view, status_code=202)


async def _events(request: Request, event: str, told: list[Any]) -> AsyncIterator[str]:
    yield ": hello\n\n"
    for item in told:
        if item == CUT:
            yield f"event: {event}\nid: 99\nda"
            raise ConnectionError
        if item == HOLD:
            while not await request.is_disconnected():
                await asyncio.sleep(0.02)
            return
        yield f"event: {event}\nid: {item['revision']}\ndata: {json.dumps(item)}\n\n"
