"""Packages: what became of uploads, and the apps and runtimes that can be used."""

from typing import Any
from uuid import UUID

import asyncpg

from slipway_accounts.offers import STANDARD
from slipway_accounts.storage import package_store
from slipway_common.contracts.packages import (
    PackageKind,
    PackagePublished,
    PackageReady,
    PackageRejected,
    Reason,
    UploadStored,
)
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import (
    AppView,
    PackageView,
    Principal,
    RuntimeView,
)
from slipway_common.failpoints import failpoint
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection, Database

CONSUMER = "accounts.packages"
LATEST = "latest"


def package_view(row: Any) -> PackageView:
    return PackageView(**{name: row[name] for name in PackageView.model_fields})


def app_view(row: Any, *, latest: bool) -> AppView:
    facts = row["facts"]
    return AppView(
        name=row["name"],
        version=row["version"],
        title=facts["title"],
        description=facts["description"],
        category=facts["category"],
        runtime=facts["runtime"],
        services=facts["services"],
        profile=facts.get("profile", STANDARD),
        latest=latest,
        published_at=row["published_at"],
        package_id=row["id"],
    )


class CatalogueService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_upload(self, event: UploadStored) -> None:
        async with self._database.transaction() as tx:
            await package_store.admit(
                tx, event, upload_sha256=event.sha256, uploaded_by=event.uploaded_by
            )
            await package_store.judge_again(
                tx,
                event.package_id,
                account_id=event.account_id,
                upload_event_id=event.event_id,
            )

    async def on_ready(self, event: PackageReady) -> None:
        """Publish, unless another archive was quicker to take the name and version."""
        try:
            async with self._database.transaction() as tx:
                await self._publish(tx, event)
                failpoint("accounts.before-publish-commit")
        except asyncpg.UniqueViolationError:
            await self.on_rejected(
                PackageRejected(
                    **event.model_dump(
                        include={"account_id", "package_id", "kind", "name", "version"}
                    ),
                    upload_sha256=event.upload_sha256,
                    uploaded_by=event.uploaded_by,
                    upload_event_id=event.upload_event_id,
                    reasons=(
                        Reason(
                            code="version-exists",
                            message=f"{event.name} {event.version} is published already, "
                            "with other content. Raise the version.",
                        ),
                    ),
                )
            )
        failpoint("accounts.after-publish-commit")

    async def _publish(self, tx: Connection, event: PackageReady) -> None:
        if not await messages.first_time(tx, consumer=CONSUMER, event_id=event.event_id):
            return
        # The upload's own event comes by another topic and may come later.
        await package_store.admit(
            tx, event, upload_sha256=event.upload_sha256, uploaded_by=event.uploaded_by
        )
        facts = event.app or event.runtime
        assert facts is not None
        moved = await package_store.mark_ready(
            tx,
            event.package_id,
            account_id=event.account_id,
            sha256=event.sha256,
            size_bytes=event.size_bytes,
            blob=event.blob,
            facts=facts.model_dump(mode="json"),
            upload_event_id=event.upload_event_id,
        )
        if moved:
            await messages.enqueue(
                tx,
                PackagePublished(
                    account_id=event.account_id,
                    package_id=event.package_id,
                    kind=event.kind,
                    name=event.name,
                    version=event.version,
                    sha256=event.sha256,
                    size_bytes=event.size_bytes,
                    app=event.app,
                    runtime=event.runtime,
                ),
            )

    async def on_rejected(self, event: PackageRejected) -> None:
        async with self._database.transaction() as tx:
            await package_store.admit(
                tx, event, upload_sha256=event.upload_sha256, uploaded_by=event.uploaded_by
            )
            await package_store.mark_rejected(
                tx,
                event.package_id,
                account_id=event.account_id,
                reasons=[reason.model_dump() for reason in event.reasons],
                upload_event_id=event.upload_event_id,
            )

    async def package(self, principal: Principal, package_id: UUID) -> PackageView:
        async with self._database.connection() as connection:
            row = await package_store.find(connection, package_id, account_id=principal.account_id)
        if row is None:
            raise problem(Code.NOT_FOUND)
        return package_view(row)

    async def published(
        self, principal: Principal, *, kind: PackageKind, name: str, version: str
    ) -> tuple[PackageView, str] | None:
        """The package of this name and version, and the digest of its upload."""
        async with self._database.connection() as connection:
            row = await package_store.find_published(
                connection, principal.account_id, kind=kind.value, name=name, version=version
            )
        return None if row is None else (package_view(row), row["upload_sha256"])

    async def apps(self, principal: Principal, *, limit: int, offset: int) -> list[AppView]:
        rows = await self._list(principal, "app", limit=limit, offset=offset)
        return [app_view(row, latest=row["latest"]) for row in rows]

    async def runtimes(self, principal: Principal, *, limit: int, offset: int) -> list[RuntimeView]:
        rows = await self._list(principal, "runtime", limit=limit, offset=offset)
        return [
            RuntimeView(
                id=row["name"],
                title=row["facts"]["title"],
                signer=row["facts"]["signer"],
                published_at=row["published_at"],
                package_id=row["id"],
            )
            for row in rows
        ]

    async def _list(
        self, principal: Principal, kind: str, *, limit: int, offset: int
    ) -> list[asyncpg.Record]:
        async with self._database.connection() as connection:
            return await package_store.list_published(
                connection, principal.account_id, kind=kind, limit=limit, offset=offset
            )

    async def app(self, principal: Principal, name: str, version: str) -> AppView:
        async with self._database.connection() as connection:
            row = await find_app(connection, principal.account_id, name=name, version=version)
            latest = await package_store.find_latest_app(connection, principal.account_id, name)
        return app_view(row, latest=latest is not None and latest["id"] == row["id"])


async def find_app(
    connection: Connection, account_id: UUID, *, name: str, version: str
) -> asyncpg.Record:
    """``version`` may be ``latest``."""
    row = (
        await package_store.find_latest_app(connection, account_id, name)
        if version == LATEST
        else await package_store.find_published(
            connection, account_id, kind="app", name=name, version=version
        )
    )
    if row is None:
        raise problem(Code.APP_NOT_FOUND, f"There is no app {name} {version} that you may use.")
    return row


def version_of(runtime_id: str) -> tuple[int, ...]:
    """``1.0.2.7-linux64-x64`` → (1, 0, 2, 7): hotfixes compare as numbers."""
    return tuple(int(part) for part in runtime_id.partition("-")[0].split("."))


async def newest_runtime(
    connection: Connection, account_id: UUID, release: str
) -> tuple[UUID, str] | None:
    """Id and name of the newest hotfix of a release; None if there is none."""
    rows = await package_store.runtimes_of_release(connection, account_id, release)
    if not rows:
        return None
    row = max(rows, key=lambda each: version_of(each["name"]))
    return row["id"], row["name"]
