"""An API server, fake or real, as a test asks it: paths, bodies, and refusals as our own errors."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway_scheduler.kubernetes.api import Connection
from slipway_scheduler.kubernetes.errors import ApiError, NotFoundError

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Server:
    """An API server, and a namespace of the test's own in it."""

    connection: Connection
    namespace: str
    forget: Callable[[], Awaitable[None]]
    """Let it forget all that was before now."""

    audit_log: Path

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        content = await self.connection.request(method, path, body=body, **more)
        return json.loads(content)

    async def refused(self, method: str, path: str, body: Any = None, **more: Any) -> ApiError:
        with pytest.raises(ApiError) as refusal:
            await self.ask(method, path, body, **more)
        return refusal.value

    def path(self, plural: str, *rest: str, group: str = "") -> str:
        base = f"/apis/{group}/v1" if group else "/api/v1"
        return "/".join([f"{base}/namespaces/{self.namespace}/{plural}", *rest])

    async def create(self, plural: str, body: dict[str, Any]) -> Any:
        return await self.ask("POST", self.path(plural), body)

    async def get(self, plural: str, name: str) -> Any:
        return await self.ask("GET", self.path(plural, name))

    async def patch(self, plural: str, name: str, body: Any, *rest: str) -> Any:
        kind = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        return await self.ask("PATCH", self.path(plural, name, *rest), body, content_type=kind)

    async def refused_patch(self, plural: str, name: str, body: Any, *rest: str) -> ApiError:
        kind = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        path = self.path(plural, name, *rest)
        return await self.refused("PATCH", path, body, content_type=kind)

    async def is_gone(self, plural: str, name: str) -> bool:
        try:
            await self.get(plural, name)
        except NotFoundError:
            return True
        return False

    async def watch(
        self,
        path: str,
        *,
        after_first: Callable[[], Awaitable[Any]] | None = None,
        accept: str = "application/json",
        **params: str,
    ) -> list[dict[str, Any]]:
        """Return what a watch says until the server ends it; do something after the first word."""
        given = {"watch": "1", "timeoutSeconds": "2"} | params
        events: list[dict[str, Any]] = []
        async for line in self.connection.lines(path, params=given, accept=accept, silence=30):
            events.append(json.loads(line))
            if after_first is not None and len(events) == 1:
                await after_first()
        return events


def pod(name: str, *, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """The least that is a pod; on no node unless one is named, and never looked at by anybody."""
    metadata = {"name": name} | ({"labels": labels} if labels else {}) | more.pop("metadata", {})
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "containers": [{"name": "main", "image": "none"}],
            "schedulerName": "nobody",
            **more,
        },
    }


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}
