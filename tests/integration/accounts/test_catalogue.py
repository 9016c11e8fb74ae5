"""What becomes of uploads: published once, however often and in whatever order it is told."""

import asyncio

import pytest

from integration.accounts.world import RUNTIME, World, ready, refused, stored
from slipway_common.contracts.packages import (
    PackageKind,
    PackageRejected,
    Reason,
    UploadStored,
)
from slipway_common.contracts.registry import CATALOGUE
from slipway_common.contracts.views import PackageState


async def test_an_upload_is_processing_until_it_is_judged(world: World) -> None:
    ada = await world.account()
    upload = stored(ada)

    await world.catalogue.on_upload(upload)
    await world.catalogue.on_upload(upload)

    view = await world.catalogue.package(ada, upload.package_id)
    assert view.state is PackageState.PROCESSING
    assert await world.told(CATALOGUE) == []
    async with refused("app-not-found"):
        await world.catalogue.app(ada, "depots", "1.0.0")


async def test_a_ready_package_is_published_once_however_often_it_is_told(world: World) -> None:
    ada = await world.account()
    upload = stored(ada)
    event = ready(upload)

    await world.catalogue.on_upload(upload)
    await asyncio.gather(*(world.catalogue.on_ready(event) for _ in range(8)))
    await world.catalogue.on_ready(ready(upload))

    published = await world.told(CATALOGUE)
    assert [name for name, _ in published] == [str(upload.package_id)]
    app = await world.catalogue.app(ada, "depots", "latest")
    assert (app.version, app.latest, app.runtime) == ("1.0.0", True, "1.0")


async def test_the_upload_may_be_heard_of_after_its_outcome(world: World) -> None:
    ada = await world.account()
    upload = stored(ada)

    await world.catalogue.on_ready(ready(upload))
    await world.catalogue.on_upload(upload)

    view = await world.catalogue.package(ada, upload.package_id)
    assert view.state is PackageState.READY
    assert len(await world.told(CATALOGUE)) == 1


REASON = Reason(code="name-mismatch", message="It says otherwise.")


def rejected(upload: UploadStored) -> PackageRejected:
    return PackageRejected(
        **upload.model_dump(include={"account_id", "package_id", "kind", "name", "version"}),
        upload_sha256=upload.sha256,
        uploaded_by=upload.uploaded_by,
        upload_event_id=upload.event_id,
        reasons=(REASON,),
    )


async def test_a_rejected_package_keeps_its_reasons_whenever_its_upload_is_heard_of(
    world: World,
) -> None:
    ada = await world.account()
    upload = stored(ada)

    await world.catalogue.on_rejected(rejected(upload))
    await world.catalogue.on_upload(upload)
    await world.catalogue.on_rejected(rejected(upload))
    await world.catalogue.on_upload(upload)

    view = await world.catalogue.package(ada, upload.package_id)
    assert (view.state, view.reasons) == (PackageState.REJECTED, (REASON,))
    assert await world.told(CATALOGUE) == []


async def test_bytes_that_were_rejected_are_judged_again_when_they_come_again(
    world: World,
) -> None:
    ada = await world.account()
    first, again = stored(ada), stored(ada)
    assert first.package_id == again.package_id
    await world.catalogue.on_upload(first)
    await world.catalogue.on_rejected(rejected(first))

    await world.catalogue.on_upload(again)
    view = await world.catalogue.package(ada, first.package_id)
    assert (view.state, view.reasons) == (PackageState.PROCESSING, ())
    await world.catalogue.on_ready(ready(again))
    await world.catalogue.on_rejected(rejected(first))

    view = await world.catalogue.package(ada, first.package_id)
    assert view.state is PackageState.READY
    assert len(await world.told(CATALOGUE)) == 1


@pytest.mark.parametrize("attempt", range(5))
async def test_of_two_archives_of_one_version_at_once_one_is_published(
    world: World, attempt: int
) -> None:
    ada = await world.account()
    uploads = [stored(ada, content=content) for content in ("one", "two")]

    await asyncio.gather(*(world.catalogue.on_ready(ready(upload)) for upload in uploads))

    views = [await world.catalogue.package(ada, upload.package_id) for upload in uploads]
    assert sorted(view.state for view in views) == [PackageState.READY, PackageState.REJECTED]
    loser = next(view for view in views if view.state is PackageState.REJECTED)
    assert [reason.code for reason in loser.reasons] == ["version-exists"]
    assert len(await world.told(CATALOGUE)) == 1


async def test_two_accounts_may_publish_the_same_name_and_version(world: World) -> None:
    ada, other = await world.account("acme"), await world.account("other")

    await world.publish(ada)
    await world.publish(other)

    assert (await world.catalogue.app(ada, "depots", "1.0.0")).package_id != (
        await world.catalogue.app(other, "depots", "1.0.0")
    ).package_id


async def test_the_latest_version_is_the_one_published_last(world: World) -> None:
    ada = await world.account()
    for version in ("1.0.0", "10.0.0", "9.0.0"):
        await world.publish(ada, version=version)

    apps = await world.catalogue.apps(ada, limit=10, offset=0)

    assert [(app.version, app.latest) for app in apps] == [
        ("9.0.0", True),
        ("10.0.0", False),
        ("1.0.0", False),
    ]
    assert (await world.catalogue.app(ada, "depots", "latest")).version == "9.0.0"
    found = await world.catalogue.published(
        ada, kind=PackageKind.APP, name="depots", version="9.0.0"
    )
    assert found is not None


async def test_an_event_that_names_another_accounts_package_changes_nothing(world: World) -> None:
    ada, eve = await world.account("acme"), await world.account("evil")
    upload = stored(ada)
    await world.catalogue.on_upload(upload)

    await world.catalogue.on_ready(ready(upload).model_copy(update={"account_id": eve.account_id}))

    assert (await world.catalogue.package(ada, upload.package_id)).state is PackageState.PROCESSING
    assert await world.told(CATALOGUE) == []


async def test_a_package_of_another_account_is_not_there(world: World) -> None:
    ada, eve = await world.account("acme"), await world.account("evil")
    await world.publish_all(ada)
    package_id = await world.publish(ada, version="2.0.0")

    async with refused("not-found"):
        await world.catalogue.package(eve, package_id)
    async with refused("app-not-found"):
        await world.catalogue.app(eve, "depots", "latest")
    assert await world.catalogue.apps(eve, limit=10, offset=0) == []
    assert await world.catalogue.runtimes(eve, limit=10, offset=0) == []
    assert [runtime.id for runtime in await world.catalogue.runtimes(ada, limit=9, offset=0)] == [
        RUNTIME
    ]
    assert (
        await world.catalogue.published(eve, kind=PackageKind.APP, name="depots", version="2.0.0")
        is None
    )
