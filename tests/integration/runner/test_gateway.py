"""The gateway's side: what members are given, and what a session uses, asked through it."""

import hashlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import OKPKey
from pydantic import SecretStr

from integration.accounts.world import RUNTIME, World, ready, stored
from integration.runner.conftest import RunnerProcess, StartRunner, runtime_archive
from integration.runner.home import PlayedHome
from slipway_accounts import routes as accounts_routes
from slipway_accounts.app import upgrade
from slipway_accounts.members import MemberService
from slipway_common import process
from slipway_common.blobs.store import BlobStore
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.internal import Identified, Route, RunnerMemberGrant, SessionUse
from slipway_common.contracts.packages import PackageKind
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import Principal, SessionState, SessionView
from slipway_common.postgres.database import Database
from slipway_common.settings import PostgresSettings
from slipway_common.web import problems
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.fronts import SessionFronts
from slipway_gateway.identity import Identities
from slipway_gateway.routes import runner as runner_routes
from slipway_gateway.routes import use as use_routes
from slipway_gateway.runners import RunnerService, SessionSecrets

SERVICE_TOKEN = SecretStr("between-services")


class Scheduler:
    """Signs what runners call home with."""

    def __init__(self) -> None:
        key = Ed25519PrivateKey.generate()
        self._key = OKPKey.import_key(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        self.public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def token(self, *, lifetime: float = 60, **claims: Any) -> str:
        content = {"exp": int(time.time() + lifetime), **claims}
        return jwt.encode({"alg": "Ed25519"}, content, self._key, algorithms=["Ed25519"])

    def member_token(self, account_id: UUID, runtime: str = RUNTIME, **other: Any) -> str:
        claims = {"sub": "member-1", "account": str(account_id), "runtime": runtime}
        return self.token(**{"aud": "slipway-member", **claims, **other})

    def session_token(self, session_id: UUID) -> str:
        return self.token(aud="slipway-runner", sub=str(session_id))


async def served(app: Any, stack: AsyncExitStack) -> str:
    listener = socket.create_server(("127.0.0.1", 0))
    stack.callback(listener.close)
    if isinstance(app, web.Application):
        running = web.AppRunner(app, shutdown_timeout=0.1)
        await running.setup()
        stack.push_async_callback(running.cleanup)
        await web.SockSite(running, listener).start()
    else:
        await stack.enter_async_context(process.serve_on(app, listener, drain_seconds=1))
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Gateway:
    """Accounts and gateway over HTTP, on a real database and real blobs; and who calls them."""

    def __init__(self, world: World, scheduler: Scheduler, url: str) -> None:
        self.world = world
        self.scheduler = scheduler
        self.url = url

    async def publish_runtime(self, account_id: UUID, archive: bytes, who: Principal) -> None:
        upload = stored(who, kind=PackageKind.RUNTIME, name=RUNTIME, version="1.0.0.1")
        package = ready(upload).model_copy(update={"sha256": hashlib.sha256(archive).hexdigest()})
        vault = Vault(self.world.blobs, self.world.keys)
        await vault.put(account_id, package.blob, archive)
        await self.world.catalogue.on_upload(upload)
        await self.world.catalogue.on_ready(package)

    async def call(
        self, method: str, path: str, token: str | None, body: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if path == "/claim":
            body = body or {"claim_id": str(uuid4())}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as http,
            http.request(method, "/runner/v1" + path, json=body) as answer,
        ):
            return answer.status, await answer.read()


@pytest.fixture
async def gateway(
    postgres: PostgresSettings, blobs: BlobStore, tmp_path: Path
) -> AsyncIterator[Gateway]:
    absent = cast("Any", None)
    async with AsyncExitStack() as stack:
        database = await Database.connect(postgres, service="accounts")
        stack.push_async_callback(database.close)
        await upgrade(database)
        world = World(database, blobs, tmp_path / "keys")
        accounts_app = accounts_routes.build_app(
            service_token=SERVICE_TOKEN,
            signer=world.signer,
            identity=world.identity,
            catalogue=world.catalogue,
            sessions=world.sessions,
            tasks=world.tasks,
            limits=absent,
            offers=absent,
            members=MemberService(database),
            changes=world.changes,
        )
        accounts = AccountsClient(await served(accounts_app, stack), SERVICE_TOKEN)
        stack.push_async_callback(accounts.close)
        scheduler = Scheduler()
        app = FastAPI()
        problems.install(app)
        service = RunnerService(
            accounts,
            Vault(blobs, world.keys),
            verification_key=scheduler.public,
            secrets=SessionSecrets(b"k"),
        )
        app.include_router(runner_routes.build(service))
        yield Gateway(world, scheduler, await served(app, stack))


async def test_a_real_member_gets_its_runtime(
    gateway: Gateway, start_runner: StartRunner, tmp_path: Path
) -> None:
    who = await gateway.world.account()
    archive = runtime_archive(preload=True)
    await gateway.publish_runtime(who.account_id, archive, who)
    key_file = tmp_path / "activation-key"
    key_file.write_text("00" * 32)

    async with start_runner(
        token=gateway.scheduler.member_token(who.account_id),
        MEMBER="member-1",
        ACTIVATION_KEY_FILE=key_file,
        GATEWAY_URL=gateway.url,
    ) as runner:
        await runner.until_ready()


async def test_the_grant_of_a_member_is_its_runtime_and_nothing_more(gateway: Gateway) -> None:
    who = await gateway.world.account()
    archive = runtime_archive(preload=True)
    await gateway.publish_runtime(who.account_id, archive, who)
    token = gateway.scheduler.member_token(who.account_id)

    status, body = await gateway.call("POST", "/member/claim", token)
    streamed, ciphertext = await gateway.call("GET", "/member/runtime", token)

    granted = RunnerMemberGrant.model_validate_json(body)
    assert (status, streamed) == (200, 200)
    assert granted.grant.account_id == who.account_id
    assert granted.grant.runtime.name == RUNTIME
    assert granted.grant.runtime.sha256 == hashlib.sha256(archive).hexdigest()
    assert set(json.loads(body)) == {"grant", "runtime_key"}
    assert archive not in ciphertext


async def test_members_and_runners_open_no_doors_of_the_other(gateway: Gateway) -> None:
    who = await gateway.world.account()
    member = gateway.scheduler.member_token(who.account_id)
    runner = gateway.scheduler.session_token(uuid4())
    both = gateway.scheduler.member_token(who.account_id, sub=str(uuid4()))

    for method, path in (("POST", "/member/claim"), ("GET", "/member/runtime")):
        assert (await gateway.call(method, path, runner))[0] == 401
        assert (await gateway.call(method, path, None))[0] == 401
    for method, path in (
        ("POST", "/claim"),
        ("POST", "/say"),
        ("PUT", "/log"),
        ("POST", "/tasks/next"),
        ("GET", f"/tasks/{uuid4()}/request"),
    ):
        for token in (member, both):
            assert (await gateway.call(method, path, token))[0] == 401, path


async def test_a_token_that_names_no_runtime_of_an_account_is_none(gateway: Gateway) -> None:
    who = await gateway.world.account()
    sign = gateway.scheduler.member_token
    whole = {"aud": "slipway-member", "sub": "member-1"}
    for token in (
        sign(who.account_id, lifetime=-60),
        sign(who.account_id, account="nobody"),
        gateway.scheduler.token(**whole, account=str(who.account_id)),
        gateway.scheduler.token(**whole, runtime=RUNTIME),
        Scheduler().member_token(who.account_id),
        "",
        "x.y.z",
    ):
        assert (await gateway.call("POST", "/member/claim", token))[0] == 401


async def test_only_a_ready_runtime_of_the_account_itself_is_given(gateway: Gateway) -> None:
    who, other = await gateway.world.account(), await gateway.world.account("other")
    sign = gateway.scheduler.member_token
    processing = stored(
        who, kind=PackageKind.RUNTIME, name="2.0.0.1-linux64-x64", version="2.0.0.1"
    )
    await gateway.world.catalogue.on_upload(processing)
    await gateway.publish_runtime(who.account_id, runtime_archive(preload=True), who)
    await gateway.world.publish(who, name="depots", version="1")

    for token in (
        sign(other.account_id),
        sign(uuid4()),
        sign(who.account_id, "1.0"),
        sign(who.account_id, "1.0.0.1"),
        sign(who.account_id, "2.0.0.1-linux64-x64"),
        sign(who.account_id, "depots"),
    ):
        for method, path in (("POST", "/member/claim"), ("GET", "/member/runtime")):
            status, body = await gateway.call(method, path, token)
            assert status == 404
            assert json.loads(body)["type"] == "urn:slipway:problem:not-found"


async def test_a_session_whose_key_is_missing_says_so_and_starts_once_it_is_there(
    gateway: Gateway, tmp_path: Path
) -> None:
    who = await gateway.world.account()
    await gateway.publish_runtime(who.account_id, runtime_archive(preload=False), who)
    app_id = await gateway.world.publish(who, name="depots", version="1")
    [blob] = [
        row["blob"]
        for row in await gateway.world.fetch("SELECT blob FROM packages WHERE id = $1", app_id)
    ]
    await Vault(gateway.world.blobs, gateway.world.keys).put(who.account_id, blob, b"an app")
    session_id = await gateway.world.launch(who)
    key = tmp_path / "keys" / str(who.account_id) / "1.key"
    elsewhere = key.rename(tmp_path / "1.key")
    token, body = gateway.scheduler.session_token(session_id), {"claim_id": str(uuid4())}

    refused = [await gateway.call("POST", "/claim", token, body) for _ in range(3)]
    session = await gateway.world.sessions.view(who, session_id)
    elsewhere.rename(key)
    status, _ = await gateway.call("POST", "/claim", token, body)
    healed = await gateway.world.sessions.view(who, session_id)

    assert {status for status, _ in refused} == {503}
    assert session.message == problems.LACKS_KEY
    assert [step.message for step in session.steps].count(problems.LACKS_KEY) == 1
    assert status == 200
    assert healed.message == "Fetching app and runtime"


async def test_a_member_whose_key_is_missing_is_asked_to_come_again(
    gateway: Gateway, tmp_path: Path
) -> None:
    who = await gateway.world.account()
    await gateway.publish_runtime(who.account_id, runtime_archive(preload=True), who)
    key = tmp_path / "keys" / str(who.account_id) / "1.key"
    elsewhere = key.rename(tmp_path / "1.key")
    token = gateway.scheduler.member_token(who.account_id)

    before, _ = await gateway.call("POST", "/member/claim", token)
    elsewhere.rename(key)
    after, _ = await gateway.call("POST", "/member/claim", token)

    assert (before, after) == (503, 200)


class PlayedAccounts:
    """Knows one session, whose it is, and where it answers."""

    def __init__(self, session_id: UUID) -> None:
        self.session_id = session_id
        self.state = SessionState.RUNNING
        self.address: str | None = None
        self.scopes = ("read",)
        self.visible = True

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.post("/internal/v1/identify", self._identify),
                web.get("/internal/v1/sessions/{id}", self._session),
                web.get("/internal/v1/sessions/{id}/route", self._route),
            ]
        )
        return app

    async def _identify(self, _: web.Request) -> web.Response:
        principal = Principal(
            account_id=UUID(int=1), account="acme", user_id=UUID(int=2), user="ada",
            credential_id=UUID(int=3), admin=False, publisher=False, scopes=self.scopes,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )  # fmt: skip
        found = Identified(principal=principal, token="signed", lifetime_seconds=0)
        return web.Response(text=found.model_dump_json(), content_type="application/json")

    async def _session(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != str(self.session_id) or not self.visible:
            return _problem(Code.NOT_FOUND)
        view = SessionView(
            id=self.session_id, kind=SessionKind.WEBUI, app="small", version="1", user="ada",
            state=self.state, created_at=datetime.now(UTC), revision=1,
        )  # fmt: skip
        return web.Response(text=view.model_dump_json(), content_type="application/json")

    async def _route(self, _: web.Request) -> web.Response:
        route = Route(
            session_id=self.session_id,
            account_id=UUID(int=1),
            state=self.state,
            address=self.address,
            unit="u",
        )
        return web.Response(text=route.model_dump_json(), content_type="application/json")


def _problem(code: Code) -> web.Response:
    return web.Response(
        status=int(code.status),
        text=problem(code).problem.model_dump_json(),
        content_type="application/problem+json",
    )


class Asked:
    def __init__(self, accounts: PlayedAccounts, url: str) -> None:
        self.accounts = accounts
        self.url = url

    async def use(self, session_id: UUID | None = None) -> tuple[int, dict[str, Any]]:
        wanted = session_id or self.accounts.session_id
        async with (
            aiohttp.ClientSession(headers={"Authorization": "Bearer key"}) as http,
            http.get(f"{self.url}/api/v1/sessions/{wanted}/use") as answer,
        ):
            return answer.status, await answer.json(content_type=None)


SECRETS = SessionSecrets(b"the gateway's own")


@pytest.fixture
async def asked() -> AsyncIterator[Callable]:
    async with AsyncExitStack() as stack:

        async def make(session_id: UUID) -> Asked:
            played = PlayedAccounts(session_id)
            accounts = AccountsClient(await served(played.app(), stack), SERVICE_TOKEN)
            stack.push_async_callback(accounts.close)
            fronts = SessionFronts(accounts, SECRETS)
            stack.push_async_callback(fronts.close)
            app = FastAPI()
            app.state.identities = Identities(accounts, public_url="http://portal", cookie="c")
            problems.install(app)
            app.include_router(use_routes.build(accounts, fronts), prefix="/api/v1")
            return Asked(played, await served(app, stack))

        yield make


def address_of(runner: RunnerProcess) -> str:
    return runner.url.removeprefix("http://")


async def test_what_a_session_uses_is_asked_of_itself(
    home: PlayedHome, session_of, start_runner: StartRunner, asked: Callable
) -> None:
    home.secret_of = SECRETS.of
    session = session_of(SessionKind.WEBUI)
    async with start_runner(session) as runner:
        await runner.until_ready()
        gateway = await asked(session.id)
        gateway.accounts.address = address_of(runner)

        status, body = await gateway.use()

        assert status == 200
        assert SessionUse.model_validate(body).processes == 2

        assert (await gateway.use(uuid4()))[0] == 404
        gateway.accounts.visible = False
        assert (await gateway.use())[0] == 404
        gateway.accounts.visible = True
        gateway.accounts.scopes = ("launch",)
        assert (await gateway.use())[0] == 403
        gateway.accounts.scopes = ("read",)

        runner.process.terminate()
        await runner.until_gone()
        status, body = await gateway.use()
        assert status == 502
        assert body["type"] == "urn:slipway:problem:session-unreachable"


async def test_before_and_after_it_runs_there_is_nothing_to_ask(asked: Callable) -> None:
    gateway = await asked(uuid4())

    for state, slug in (
        (SessionState.STARTING, "session-not-ready"),
        (SessionState.QUEUED, "session-not-ready"),
        (SessionState.ENDED, "session-over"),
        (SessionState.FAILED, "session-over"),
    ):
        gateway.accounts.state = state
        status, body = await gateway.use()
        assert (status, body["type"]) == (409, f"urn:slipway:problem:{slug}")


async def test_a_session_that_answers_anything_else_is_not_believed(asked: Callable) -> None:
    async with AsyncExitStack() as stack:
        answers = {"text": "{}", "status": 200}

        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=answers["text"], status=int(answers["status"]))

        app = web.Application()
        app.add_routes([web.get("/_slipway/use", answer)])
        gateway = await asked(uuid4())
        gateway.accounts.address = (await served(app, stack)).removeprefix("http://")

        for text, status in (("{}", 200), ("x" * 100_000, 200), ("no json", 200), ("{}", 403)):
            answers.update(text=text, status=status)
            assert (await gateway.use())[0] == 502


async def test_a_session_that_does_not_answer_is_not_waited_for(asked: Callable) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gateway = await asked(uuid4())
        gateway.accounts.address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()

        status, body = await gateway.use()

    assert (status, body["type"]) == (504, "urn:slipway:problem:session-timeout")
    assert time.monotonic() - began < 8
