"""Accounts without its doors: the use cases on a database of the test's own, and who uses them."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from slipway_accounts.catalogue import CatalogueService
from slipway_accounts.changes import Changes
from slipway_accounts.identity import IdentityService, create_account
from slipway_accounts.limits import LimitService
from slipway_accounts.offers import Offers
from slipway_accounts.sessions import SessionService
from slipway_accounts.tasks import TaskService
from slipway_accounts.tokens import Signer
from slipway_common.blobs.store import BlobStore
from slipway_common.contracts.internal import TaskStart
from slipway_common.contracts.packages import (
    AppFacts,
    PackageKind,
    PackageReady,
    RuntimeFacts,
    ServiceFacts,
    UploadStored,
)
from slipway_common.contracts.problems import ProblemError
from slipway_common.contracts.registry import SESSIONS_WANTED, Topic
from slipway_common.contracts.sessions import (
    EndReason,
    LaunchRequested,
    SessionEnded,
    SessionFailed,
    SessionProgress,
    SessionRunning,
    SessionStage,
    StopRequested,
)
from slipway_common.contracts.views import (
    LaunchRequest,
    LogOn,
    Principal,
    SessionState,
    UserRequest,
)
from slipway_common.crypto.keys import FileKeyRing
from slipway_common.errors import TransientError
from slipway_common.postgres.database import Database

PASSWORD = "correct horse battery"
RUNTIME = "1.0.0.1-linux64-x64"


def new_signing_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@asynccontextmanager
async def refused(slug: str):
    """The block is refused with the problem of this name."""
    with pytest.raises(ProblemError) as found:
        yield found
    assert found.value.slug == slug


async def delivered(handle: Callable[[], Awaitable[object]]) -> None:
    """As a consumer does it: a passing fault is tried again."""
    while True:
        try:
            await handle()
        except TransientError:
            await asyncio.sleep(0.01)
        else:
            return


def stored(
    who: Principal,
    *,
    name: str = "depots",
    version: str = "1.0.0",
    kind: PackageKind = PackageKind.APP,
    content: str = "first",
) -> UploadStored:
    package_id = uuid5(NAMESPACE_OID, f"{who.account_id} {kind} {name} {version} {content}")
    return UploadStored(
        account_id=who.account_id,
        package_id=package_id,
        kind=kind,
        name=name,
        version=version,
        blob=f"inbox/{package_id}",
        size_bytes=1000,
        sha256=sha256_of(content),
        uploaded_by=who.user_id,
    )


def ready(upload: UploadStored, *, runtime: str = "1.0", profile: str = "standard") -> PackageReady:
    app = AppFacts(
        title=upload.name.title(),
        runtime=runtime,
        profile=profile,
        services=(ServiceFacts(name="solve"), ServiceFacts(name="report")),
    )
    return PackageReady(
        account_id=upload.account_id,
        package_id=upload.package_id,
        kind=upload.kind,
        name=upload.name,
        version=upload.version,
        blob=f"packages/{upload.package_id}",
        size_bytes=900,
        sha256=upload.sha256,
        upload_sha256=upload.sha256,
        uploaded_by=upload.uploaded_by,
        upload_event_id=upload.event_id,
        app=app if upload.kind is PackageKind.APP else None,
        runtime=None
        if upload.kind is PackageKind.APP
        else RuntimeFacts(title="Open", signer="Vendor"),
    )


class World:
    def __init__(self, database: Database, blobs: BlobStore, folder: Path) -> None:
        self.database = database
        self.blobs = blobs
        self.keys = FileKeyRing(folder)
        self.signer = Signer(new_signing_key())
        self.changes = Changes(database)
        self.identity = IdentityService(
            database,
            self.signer,
            log_on_lifetime=timedelta(hours=1),
            identity_lifetime=timedelta(minutes=1),
        )
        self.catalogue = CatalogueService(database)
        self.offer(Offers())

    def offer(self, offers: Offers) -> None:
        """Start accounts anew, with other files of the operator's."""
        self.offers = offers
        self.sessions = SessionService(
            self.database, self.signer, offers=offers, ticket_lifetime=timedelta(seconds=60)
        )
        self.tasks = TaskService(self.database, self.changes, offers=offers)
        self.limits = LimitService(self.database, offers=offers)

    async def account(
        self, name: str = "acme", *, limit: int = 10, queues: bool = True
    ) -> Principal:
        """An account with its first admin, logged on."""
        made = await create_account(
            self.database,
            self.keys,
            self.blobs,
            name=name,
            session_limit=limit,
            queues=queues,
            admin=UserRequest(name="ada", password=PASSWORD, admin=True, publisher=True),
        )
        assert made
        return await self.log_on(name, "ada")

    async def user(self, admin: Principal, name: str) -> Principal:
        """One more user of the admin's account, logged on."""
        await self.identity.create_user(admin, UserRequest(name=name, password=PASSWORD))
        return await self.log_on(admin.account, name)

    async def log_on(self, account: str, user: str) -> Principal:
        request = LogOn(account=account, user=user, password=PASSWORD)
        return (await self.identity.log_on(request)).principal

    async def publish(self, who: Principal, *, profile: str = "standard", **which: Any) -> UUID:
        upload = stored(who, **which)
        await self.catalogue.on_upload(upload)
        await self.catalogue.on_ready(ready(upload, profile=profile))
        return upload.package_id

    async def publish_all(self, who: Principal) -> None:
        """What a launch needs: the runtime, and an app on it."""
        await self.publish(who, kind=PackageKind.RUNTIME, name=RUNTIME, version="1.0.0.1")
        await self.publish(who)

    async def ask(self, who: Principal, *, key: str | None = None, **what: Any) -> UUID:
        """A launch that the gateway has written down and not yet published."""
        wanted = LaunchRequest(**(what or {"app": "depots"}))
        launched = await self.sessions.launch(who, wanted, key or str(uuid4()))
        return launched.session.id

    def requested(self, who: Principal, session_id: UUID) -> LaunchRequested:
        return LaunchRequested(
            account_id=who.account_id,
            session_id=session_id,
            user_id=who.user_id,
            app_name="depots",
            app_version="1.0.0",
        )

    async def launch(self, who: Principal, **what: Any) -> UUID:
        session_id = await self.ask(who, **what)
        await self.sessions.on_launch(self.requested(who, session_id))
        return session_id

    async def run(self, who: Principal, session_id: UUID, *, unit: str = "unit") -> None:
        await self.sessions.on_running(
            SessionRunning(
                account_id=who.account_id,
                session_id=session_id,
                address="127.0.0.1:8080",
                unit=unit,
            )
        )

    async def stop(self, who: Principal, session_id: UUID) -> None:
        await self.sessions.on_stop(
            StopRequested(
                account_id=who.account_id, session_id=session_id, requested_by=who.user_id
            )
        )

    async def progress(
        self, who: Principal, session_id: UUID, stage: SessionStage, message: str = "", **more: Any
    ) -> SessionProgress:
        event = SessionProgress(
            account_id=who.account_id, session_id=session_id, stage=stage, message=message, **more
        )
        await self.sessions.on_progress(event)
        return event

    async def state(self, who: Principal, session_id: UUID) -> SessionState:
        return (await self.sessions.view(who, session_id)).state

    def task(
        self, *, service: str = "solve", key: str | None = None, body: str = "{}", app="depots"
    ) -> TaskStart:
        return TaskStart(
            id=uuid4(),
            app=app,
            version="latest",
            service=service,
            time_limit_seconds=60,
            key=key or str(uuid4()),
            request_sha256=sha256_of(f"{app} {service} {body}"),
        )

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        async with self.database.connection() as connection:
            return await connection.fetch(query, *arguments)

    async def told(self, topic: Topic) -> list[tuple[str, dict[str, Any] | None]]:
        """Key and body of all that was left for the relay, in order; a tombstone has no body."""
        rows = await self.fetch(
            "SELECT key, payload FROM outbox WHERE topic = $1 ORDER BY id", topic.name
        )
        return [
            (row["key"].decode(), None if row["payload"] is None else json.loads(row["payload"]))
            for row in rows
        ]

    async def wanted(self, session_id: UUID) -> dict[str, Any]:
        """The record by which the scheduler knows of the session."""
        [found] = [
            body
            for key, body in await self.told(SESSIONS_WANTED)
            if key == str(session_id) and body
        ]
        return found

    async def task_sessions(self) -> list[UUID]:
        rows = await self.fetch("SELECT id FROM sessions WHERE kind = 'task' ORDER BY created_at")
        return [row["id"] for row in rows]


def ended(
    who: Principal, session_id: UUID, reason: EndReason = EndReason.FINISHED, message: str = ""
) -> SessionEnded:
    return SessionEnded(
        account_id=who.account_id, session_id=session_id, reason=reason, message=message
    )


def failed(
    who: Principal, session_id: UUID, reason: EndReason = EndReason.LOST, message: str = "gone"
) -> SessionFailed:
    return SessionFailed(
        account_id=who.account_id, session_id=session_id, reason=reason, message=message
    )
