"""The gateway, put together: builds everything, wires everything, and nothing else."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from slipway_common import health, process
from slipway_common.blobs.store import BlobStore
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.registry import IDENTITY
from slipway_common.crypto.keys import FileKeyRing
from slipway_common.kafka.broker import ensure_topics, start_producer
from slipway_common.kafka.publisher import Publisher
from slipway_common.kafka.table import CompactedTable
from slipway_common.settings import read_secret
from slipway_common.web import problems
from slipway_common.web.middleware import BodyRefusals, Measured
from slipway_gateway import portal
from slipway_gateway.access import SessionAccess
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.cookies import LogOnCookie
from slipway_gateway.fronts import SessionFronts
from slipway_gateway.identity import Identities
from slipway_gateway.pages import Pages
from slipway_gateway.proxy import SessionProxy
from slipway_gateway.routes import catalogue, identity, offers, runner, sessions, tasks, use
from slipway_gateway.routes.dependencies import MAX_JSON_BYTES
from slipway_gateway.runners import RunnerService, SessionSecrets
from slipway_gateway.sessions import SessionService
from slipway_gateway.settings import Settings
from slipway_gateway.tasks import TaskService
from slipway_gateway.uploads import UploadService

API = "/api/v1"


class HostSwitch:
    """Session hosts go to the proxy, everything else to API and portal."""

    def __init__(self, main: FastAPI, proxy: SessionProxy) -> None:
        self._main = main
        self._proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and self._proxy.serves(HTTPConnection(scope)):
            await self._proxy(scope, receive, send)
        else:
            await self._main(scope, receive, send)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes hand requests to."""

    accounts: AccountsClient
    identities: Identities
    changes: Changes
    vault: Vault
    sessions: SessionService
    tasks: TaskService
    uploads: UploadService
    runners: RunnerService
    fronts: SessionFronts
    cookie: LogOnCookie
    pages: Pages
    seal_certificate: bytes
    default_task_time_limit_seconds: int


async def start(settings: Settings, stack: AsyncExitStack) -> None:
    await ensure_topics(settings.kafka)
    producer = await start_producer(settings.kafka, service="gateway")
    stack.push_async_callback(producer.stop)
    publisher = Publisher(producer)
    blobs = BlobStore(read_secret(settings.blobs.connection_string_file).get_secret_value())
    stack.push_async_callback(blobs.close)
    vault = Vault(blobs, FileKeyRing(settings.keys_folder))
    accounts = AccountsClient(settings.accounts_url, read_secret(settings.service_token_file))
    stack.push_async_callback(accounts.close)

    cookie = LogOnCookie(secure=settings.secure)
    identities = Identities(accounts, public_url=settings.public_url, cookie=cookie.name)
    changes = Changes(accounts)
    revocations = CompactedTable(settings.kafka, IDENTITY, on_change=identities.on_change)
    await stack.enter_async_context(process.background(changes.run(), revocations.run()))

    secrets = SessionSecrets(
        bytes.fromhex(read_secret(settings.session_secret_file).get_secret_value())
    )
    pages = Pages(public_url=settings.public_url)
    proxy = SessionProxy(
        accounts,
        SessionAccess(accounts, identities),
        changes,
        secrets,
        pages,
        sessions_host=settings.sessions_host,
        secure=settings.secure,
    )
    stack.push_async_callback(proxy.close)
    fronts = SessionFronts(accounts, secrets)
    stack.push_async_callback(fronts.close)
    main = build_app(
        Parts(
            accounts=accounts,
            identities=identities,
            changes=changes,
            vault=vault,
            sessions=SessionService(
                accounts,
                publisher,
                sessions_host=settings.sessions_host,
                secure=settings.secure,
            ),
            tasks=TaskService(accounts, vault, max_bytes=settings.max_task_bytes),
            uploads=UploadService(
                accounts, vault, publisher, changes, max_bytes=settings.max_upload_bytes
            ),
            runners=RunnerService(
                accounts,
                vault,
                verification_key=settings.runner_verification_key_file.read_bytes(),
                secrets=secrets,
            ),
            fronts=fronts,
            cookie=cookie,
            pages=pages,
            seal_certificate=settings.seal_certificate_file.read_bytes(),
            default_task_time_limit_seconds=int(settings.default_task_time_limit.total_seconds()),
        )
    )
    probes = health.Health(
        {
            "accounts": accounts.public_keys,
            "kafka": producer.client.fetch_all_metadata,
            "blobs": blobs.check,
        }
    )
    await stack.enter_async_context(
        process.serve(
            health.build_app(probes), host=settings.health.host, port=settings.health.port
        )
    )
    await stack.enter_async_context(
        process.serve(HostSwitch(main, proxy), host=settings.http.host, port=settings.http.port)
    )


def build_app(parts: Parts) -> FastAPI:
    app = FastAPI(title="Slipway", version="1.0.0", docs_url=None, redoc_url=None)
    app.state.identities = parts.identities
    problems.install(app)
    app.add_middleware(BodyRefusals)
    app.add_middleware(Measured)
    small = (
        identity.build(parts.accounts, parts.identities, parts.cookie),
        offers.build(parts.accounts),
        sessions.build(
            parts.accounts, parts.identities, parts.sessions, parts.vault, parts.changes
        ),
        use.build(parts.accounts, parts.fronts),
    )
    streamed = (
        catalogue.build(
            parts.accounts,
            parts.identities,
            parts.uploads,
            parts.changes,
            seal_certificate=parts.seal_certificate,
        ),
        tasks.build(
            parts.accounts,
            parts.identities,
            parts.tasks,
            parts.changes,
            default_time_limit_seconds=parts.default_task_time_limit_seconds,
        ),
    )
    for router in small:
        app.include_router(router, prefix=API, max_body_size=MAX_JSON_BYTES)
    for router in streamed:
        app.include_router(router, prefix=API)
    app.include_router(runner.build(parts.runners), include_in_schema=False)
    portal.install(app, parts.accounts, parts.identities, parts.sessions, parts.cookie, parts.pages)
    return app
