"""Accounts, put together: builds everything, wires everything, and nothing else."""

from contextlib import AsyncExitStack
from datetime import timedelta

from slipway_accounts import handlers, identity, routes
from slipway_accounts.catalogue import CatalogueService
from slipway_accounts.changes import Changes
from slipway_accounts.limits import LimitService
from slipway_accounts.members import MemberService
from slipway_accounts.offers import Offers
from slipway_accounts.sessions import SessionService
from slipway_accounts.settings import Settings
from slipway_accounts.tasks import TaskService
from slipway_accounts.tokens import Signer
from slipway_common import health, process
from slipway_common.blobs.store import BlobStore
from slipway_common.contracts.views import UserRequest
from slipway_common.crypto.keys import FileKeyRing
from slipway_common.kafka.broker import build_broker, ensure_topics, start_producer
from slipway_common.periodic import Periodic
from slipway_common.postgres.database import Database
from slipway_common.postgres.migrations import migrate, read_migrations
from slipway_common.postgres.relay import Relay
from slipway_common.settings import read_secret

HEARD_KEPT = timedelta(days=8)
"""Longer than events wait in the outbox to be sent again: a repetition is always recognised."""


async def start(settings: Settings, offers: Offers, stack: AsyncExitStack) -> None:
    database = await Database.connect(settings.postgres, service="accounts")
    stack.push_async_callback(database.close)
    await upgrade(database)
    blobs = BlobStore(read_secret(settings.blobs.connection_string_file).get_secret_value())
    stack.push_async_callback(blobs.close)
    await _make_first_admin(settings, database, blobs)
    await ensure_topics(settings.kafka)

    signer = Signer(settings.signing_key_file.read_bytes())
    changes = Changes(database)
    catalogue = CatalogueService(database)
    sessions = SessionService(
        database, signer, offers=offers, ticket_lifetime=settings.ticket_lifetime
    )

    producer = await start_producer(settings.kafka, service="accounts")
    stack.push_async_callback(producer.stop)
    relay = Relay(database, producer)
    sweep = Periodic(
        "sessions.sweep",
        lambda: sessions.sweep(
            requested_lifetime=settings.requested_lifetime, forget_after=HEARD_KEPT
        ),
        every=timedelta(seconds=10),
    )
    await stack.enter_async_context(process.background(relay.run(), changes.run(), sweep.run()))

    broker = build_broker(settings.kafka, service="accounts")
    handlers.register(broker, handlers.Handlers(catalogue, sessions))
    await broker.start()
    stack.push_async_callback(broker.stop)

    app = routes.build_app(
        service_token=read_secret(settings.service_token_file),
        signer=signer,
        identity=identity.IdentityService(
            database,
            signer,
            log_on_lifetime=settings.log_on_lifetime,
            identity_lifetime=settings.identity_lifetime,
        ),
        catalogue=catalogue,
        sessions=sessions,
        tasks=TaskService(database, changes, offers=offers),
        limits=LimitService(database, offers=offers),
        offers=offers,
        members=MemberService(database),
        changes=changes,
    )
    await stack.enter_async_context(
        process.serve(app, host=settings.http.host, port=settings.http.port, drain_seconds=3)
    )
    probes = health.Health({"postgres": database.check, "kafka": lambda: broker.ping(timeout=1.5)})
    await stack.enter_async_context(
        process.serve(
            health.build_app(probes), host=settings.health.host, port=settings.health.port
        )
    )


async def upgrade(database: Database) -> None:
    from importlib.resources import files

    async with database.connection() as connection:
        await migrate(connection, read_migrations(files("slipway_accounts") / "migrations"))


async def _make_first_admin(settings: Settings, database: Database, blobs: BlobStore) -> None:
    first = settings.first_admin
    if first is None:
        return
    await identity.create_account(
        database,
        FileKeyRing(settings.keys_folder),
        blobs,
        name=first.account,
        session_limit=settings.session_limit,
        queues=True,
        admin=UserRequest(
            name=first.user,
            password=read_secret(first.password_file).get_secret_value(),
            admin=True,
            publisher=True,
        ),
    )
