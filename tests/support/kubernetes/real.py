"""A real control plane for a module of tests: etcd, API server, controllers, and no nodes."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from slipway_local.cluster.cluster import Cluster
from slipway_local.ports import LOOPBACK
from support.running_cluster import RunningCluster

API_SERVER = "kube-apiserver"


class ControlPlane:
    def __init__(self, running: RunningCluster) -> None:
        self._running = running
        self._cluster = running.cluster

    @property
    def kubeconfig(self) -> Path:
        return self._cluster.kubeconfig

    @property
    def audit_log(self) -> Path:
        return self._cluster.audit_log

    def kill_api_server(self) -> None:
        self._running.call(self._cluster.kill(API_SERVER))

    def start_api_server(self) -> None:
        self._running.call(self._cluster.restart(API_SERVER))

    async def forget(self) -> None:
        """Let etcd forget all that was before now, as it does by itself every few minutes."""
        found = await self._ask_etcd("range", {"key": "AA=="})
        revision = int(found["header"]["revision"])
        await self._ask_etcd("compaction", {"revision": revision, "physical": True})

    async def _ask_etcd(self, verb: str, body: dict[str, Any]) -> Any:
        remembered = self._cluster.state.read()
        assert remembered is not None
        pki = self._cluster.state.pki
        context = ssl.create_default_context(cafile=pki / "authority.pem")
        context.load_cert_chain(pki / "kube-apiserver.pem", pki / "kube-apiserver.key")
        url = f"https://{LOOPBACK}:{remembered.ports['etcd']}/v3/kv/{verb}"
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession() as session,
            session.post(url, data=json.dumps(body), ssl=context) as answer,
        ):
            answer.raise_for_status()
            return json.loads(await answer.read())


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    running = RunningCluster(Cluster(folder, nodes="none", fresh=True))
    running.start()
    try:
        yield ControlPlane(running)
    finally:
        running.stop()
