"""Runners of fake pods: one server that answers for all of them, as a real runner would.

Fake pods have addresses of loopback, so whatever is sent to one arrives here. Which member was
meant is told by the address; that it was really meant, by the key.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from aiohttp import web

from bench.cluster import objects
from slipway_common.contracts.internal import Activation
from slipway_common.crypto import activation
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import Connection, Resource
from slipway_scheduler.kubernetes.manifests import PORT
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.kubernetes.reflector import Reflector

LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 2.0
"""How long we may lag behind the scheduler in hearing of a pod."""


@dataclass(slots=True)
class Members:
    root_key: bytes
    by_address: dict[str, str] = field(default_factory=dict)
    activated: dict[UUID, tuple[str, float]] = field(default_factory=dict)
    """By session: which member it was, and when it was called first."""

    refused: int = 0

    def on_pod(self, before: Pod | None, after: Pod | None) -> None:
        if after is None and before is not None and before.status.pod_ip is not None:
            if self.by_address.get(before.status.pod_ip) == before.metadata.name:
                del self.by_address[before.status.pod_ip]
        elif after is not None and after.status.pod_ip is not None:
            self.by_address[after.status.pod_ip] = after.metadata.name

    async def activate(self, request: web.Request) -> web.Response:
        called = time.time()
        member = await self._member(request)
        key = activation.member_key(self.root_key, member)
        try:
            message = activation.unseal(key, await request.read(), member=member)
        except activation.NotForUsError:
            self.refused += 1
            return web.Response(status=403)
        session = Activation.model_validate_json(message)
        self.activated.setdefault(session.session_id, (member, called))
        return web.Response(text=activation.acknowledgement(key, session.session_id))

    async def ready(self, _: web.Request) -> web.Response:
        return web.Response(text="ready")

    async def _member(self, request: web.Request) -> str:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        end = time.monotonic() + PATIENCE_SECONDS
        while address not in self.by_address and time.monotonic() < end:
            await asyncio.sleep(LOOK_SECONDS)
        return self.by_address[address]


@asynccontextmanager
async def answering(kubeconfig: Path, *, root_key: bytes) -> AsyncIterator[Members]:
    members = Members(root_key)
    connection = await Connection.open(kubeconfig, connections=2)
    mirror = Reflector(
        connection,
        Resource("v1", "pods", objects.SESSIONS),
        Pod,
        selector=labels.POOL,
        on_change=members.on_pod,
    )
    watching = asyncio.create_task(mirror.run())
    app = web.Application()
    app.router.add_post("/_slipway/activate", members.activate)
    app.router.add_get("/_slipway/ready", members.ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", PORT, backlog=1024).start()  # noqa: S104
        await mirror.synced.wait()
        yield members
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await runner.cleanup()
        await connection.close()
