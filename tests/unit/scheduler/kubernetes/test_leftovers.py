"""Secrets that somebody left between two writes are removed, and never one whose pod may live."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from slipway_scheduler.kubernetes import labels, leftovers
from slipway_scheduler.kubernetes.api import Resource
from slipway_scheduler.kubernetes.leftovers import LeftoverSecrets
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from support.kubernetes.others import NAMESPACE_NAME, Pods
from support.kubernetes.server import FakeApiServer

SECRETS = Resource("v1", "secrets", NAMESPACE_NAME)


@pytest.fixture
async def api(new_api: Any, pods: Pods, server: FakeApiServer) -> Any:
    api = await new_api(WriteLimiter(per_second=1000, burst=1000))
    pods.create("session-a")
    for name in ("session-a", "session-b"):
        metadata = {"name": name, "labels": {labels.ROLE: "session"}}
        unit = {labels.UNIT: name}
        await api.create(
            SECRETS, {"metadata": {**metadata, "annotations": unit}}, rank=Rank.SESSION
        )
    return api


@pytest.fixture
def names(api: Any) -> Callable[[], Awaitable[set[str]]]:
    async def ask() -> set[str]:
        found = await api.list_metadata(SECRETS, selector=labels.ROLE)
        return {one.metadata.name for one in found}

    return ask


async def test_what_has_no_pod_is_removed_once_it_is_old(
    api: Any, new_mirror: Any, names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with new_mirror() as mirror:
        chore = LeftoverSecrets(api, namespace=NAMESPACE_NAME, pods=mirror.reflector)

        await chore.step()
        assert await names() == {"session-a", "session-b"}

        monkeypatch.setattr(leftovers, "CUT_OFF", timedelta(0))
        await chore.step()
        assert await names() == {"session-a"}


async def test_nothing_is_removed_by_a_mirror_that_hears_nothing(
    api: Any, new_mirror: Any, names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "CUT_OFF", timedelta(0))
    monkeypatch.setattr(leftovers, "STALE_SECONDS", -1)
    async with new_mirror() as mirror:
        await LeftoverSecrets(api, namespace=NAMESPACE_NAME, pods=mirror.reflector).step()

        assert await names() == {"session-a", "session-b"}
