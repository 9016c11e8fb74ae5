"""Plays the gateway's runner API to real runners, with real envelopes, over real HTTP."""

import asyncio
import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from slipway_common.blobs.names import context_of
from slipway_common.contracts.internal import (
    Assignment,
    Grant,
    Instruction,
    MemberGrant,
    PackageGrant,
    RunnerGrant,
    RunnerMemberGrant,
)
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.sessions import SessionKind
from slipway_common.crypto.envelope import Encryptor, WrappedKey, new_data_key

SECRET = "shown-by-the-gateway"


@dataclass
class Stored:
    """A package as it lies in a store: encrypted, with a grant that opens it."""

    grant: PackageGrant
    ciphertext: bytes
    key: str


@dataclass
class PlayedSession:
    id: UUID
    token: str
    kind: SessionKind
    app: Stored | None
    runtime: Stored | None
    claim: str | None = None
    said: list[str] = field(default_factory=list)
    log: str = ""
    tasks: list[Assignment] = field(default_factory=list)
    requests: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[UUID, tuple[str, Any]] = field(default_factory=dict)


def zipped(entries: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class PlayedHome:
    def __init__(self) -> None:
        self.account_id = uuid4()
        self.sessions: dict[str, PlayedSession] = {}
        self.members: dict[str, Stored] = {}
        self.opened = asyncio.Event()
        """Clear it, and no package comes."""
        self.opened.set()
        self.calls: list[str] = []
        self.secret_of: Callable[[UUID], str] = lambda _: SECRET
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.add_routes(
            [
                web.post("/runner/v1/claim", self._claim),
                web.get("/runner/v1/packages/{which}", self._package),
                web.post("/runner/v1/say", self._say),
                web.put("/runner/v1/log", self._log),
                web.post("/runner/v1/tasks/next", self._next_task),
                web.get("/runner/v1/tasks/{id}/request", self._request),
                web.post("/runner/v1/tasks/{id}/progress", self._progress),
                web.put("/runner/v1/tasks/{id}/response", self._response),
                web.post("/runner/v1/tasks/{id}/failure", self._failure),
                web.post("/runner/v1/member/claim", self._claim_as_member),
                web.get("/runner/v1/member/runtime", self._member_runtime),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def store(self, content: bytes, *, name: str = "thing") -> Stored:
        package_id = uuid4()
        blob = f"packages/{package_id}"
        key = new_data_key()
        encryptor = Encryptor(
            key,
            key=WrappedKey(key_id="test", wrapped=b"x"),
            context=context_of(self.account_id, blob),
        )
        ciphertext = b"".join([encryptor.header, *encryptor.feed(content), encryptor.finish()])
        grant = PackageGrant(
            id=package_id,
            name=name,
            version="1",
            blob=blob,
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
        )
        return Stored(grant, ciphertext, base64.b64encode(key).decode())

    def session(
        self, kind: SessionKind, *, app: Stored | None = None, runtime: Stored | None = None
    ) -> PlayedSession:
        session = PlayedSession(uuid4(), f"session-{uuid4()}", kind, app, runtime)
        self.sessions[session.token] = session
        return session

    def member(self, runtime: Stored) -> str:
        """The token of a member that waits with this runtime."""
        token = f"member-{uuid4()}"
        self.members[token] = runtime
        return token

    def _of(self, request: web.Request) -> PlayedSession:
        self.calls.append(request.path)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        session = self.sessions.get(token)
        if session is None:
            raise _refusal(Code.UNAUTHENTICATED)
        return session

    async def _claim(self, request: web.Request) -> web.Response:
        session = self._of(request)
        claim = (await request.json())["claim_id"]
        if session.claim not in {None, claim}:
            raise _refusal(Code.GRANT_USED)
        session.claim = claim
        grant = Grant(
            session_id=session.id,
            account_id=self.account_id,
            kind=session.kind,
            app=None if session.app is None else session.app.grant,
            runtime=None if session.runtime is None else session.runtime.grant,
        )
        return _json(
            RunnerGrant(
                grant=grant,
                app_key=None if session.app is None else session.app.key,
                runtime_key=None if session.runtime is None else session.runtime.key,
                session_secret=self.secret_of(session.id),
            ).model_dump_json()
        )

    async def _package(self, request: web.Request) -> web.Response:
        session = self._of(request)
        if request.headers.get("Slipway-Claim") != session.claim:
            raise _refusal(Code.GRANT_USED)
        await self.opened.wait()
        stored = session.app if request.match_info["which"] == "app" else session.runtime
        assert stored is not None
        return web.Response(body=stored.ciphertext)

    def _member_of(self, request: web.Request) -> Stored:
        self.calls.append(request.path)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.members:
            raise _refusal(Code.UNAUTHENTICATED)
        return self.members[token]

    async def _claim_as_member(self, request: web.Request) -> web.Response:
        runtime = self._member_of(request)
        grant = MemberGrant(account_id=self.account_id, runtime=runtime.grant)
        return _json(RunnerMemberGrant(grant=grant, runtime_key=runtime.key).model_dump_json())

    async def _member_runtime(self, request: web.Request) -> web.Response:
        runtime = self._member_of(request)
        await self.opened.wait()
        return web.Response(body=runtime.ciphertext)

    async def _say(self, request: web.Request) -> web.Response:
        self._of(request).said.append((await request.json())["message"])
        return web.Response(status=204)

    async def _log(self, request: web.Request) -> web.Response:
        self._of(request).log = (await request.read()).decode()
        return web.Response(status=204)

    async def _next_task(self, request: web.Request) -> web.Response:
        session = self._of(request)
        for task in session.tasks:
            if task.task_id not in session.outcomes:
                return _json(task.model_dump_json())
        await asyncio.sleep(0.05)
        return web.Response(status=204)

    async def _request(self, request: web.Request) -> web.Response:
        session = self._of(request)
        return _json(json.dumps(session.requests[UUID(request.match_info["id"])]))

    async def _progress(self, request: web.Request) -> web.Response:
        self._of(request)
        return _json(Instruction(interrupt=None).model_dump_json())

    async def _response(self, request: web.Request) -> web.Response:
        session = self._of(request)
        outcome = request.query["outcome"]
        session.outcomes[UUID(request.match_info["id"])] = (outcome, await request.json())
        return web.Response(status=204)

    async def _failure(self, request: web.Request) -> web.Response:
        session = self._of(request)
        session.outcomes[UUID(request.match_info["id"])] = ("failed", await request.json())
        return web.Response(status=204)


def _json(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


def _refusal(code: Code) -> web.HTTPException:
    class Refused(web.HTTPException):
        status_code = int(code.status)

    return Refused(
        text=problem(code).problem.model_dump_json(), content_type="application/problem+json"
    )
