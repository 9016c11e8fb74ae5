"""The part of Azure's management API that agent pools need, played by its documented contract.

It refuses whatever the contract does not name: other paths, versions, methods or bodies. Orders
take effect as in the real service: accepted at once, carried out by an operation that is asked
about, with everything refused that comes meanwhile.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import AioHttpTransport

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP, CLUSTER = "plant", "slipway"
API_VERSION = "2026-08-01"
TOKEN = "token-of-the-scheduler"
ENDPOINT = "https://management.azure.com"

_BASE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.ContainerService/managedClusters/{CLUSTER}/agentPools"
)
_OPERATIONS = (
    f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.ContainerService"
    "/locations/westeurope/operations"
)
_SETTABLE = frozenset(
    {
        "count", "vmSize", "osDiskSizeGB", "osDiskType", "maxPods", "osType", "osSKU", "mode",
        "type", "orchestratorVersion", "enableAutoScaling", "nodeLabels", "nodeTaints",
        "scaleDownMode", "tags", "minCount", "maxCount", "powerState",
    }
)  # fmt: skip


@dataclass
class Seen:
    """A request as it came in."""

    method: str
    path: str
    if_match: str | None
    body: Any


@dataclass
class Operation:
    kind: str
    pool: str
    machines: list[str] = field(default_factory=list)
    status: str = "InProgress"
    error: dict[str, str] | None = None


@dataclass
class Pool:
    name: str
    properties: dict[str, Any]
    machines: list[str]
    tag: int = 1

    def document(self) -> dict[str, Any]:
        return {
            "id": f"{_BASE}/{self.name}",
            "name": self.name,
            "type": "Microsoft.ContainerService/managedClusters/agentPools",
            "properties": self.properties | {"eTag": f"tag-{self.tag}"},
        }


class AksService:
    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.operations: dict[str, Operation] = {}
        self.seen: list[Seen] = []
        self.port = 0
        self.retry_after = "7"
        self.by_location = False
        """Operations are named by Location alone, as older versions of the service do."""

        self._answers: list[tuple[str, web.Response | None]] = []
        self._made = 0

    @classmethod
    @asynccontextmanager
    async def run(cls) -> AsyncIterator[Self]:
        service = cls()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", service._serve)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        service.port = runner.addresses[0][1]
        try:
            yield service
        finally:
            await runner.cleanup()

    def add(self, name: str, *, count: int = 0, **properties: Any) -> Pool:
        stated = {
            "count": count,
            "vmSize": "Standard_D8s_v5",
            "maxPods": 60,
            "osType": "Linux",
            "mode": "User",
            "type": "VirtualMachineScaleSets",
            "enableAutoScaling": False,
            "nodeLabels": {"slipway.dev/pool": name},
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "currentOrchestratorVersion": "1.35.4",
        }
        pool = Pool(name, stated | properties, [])
        pool.machines = [self._machine(name) for _ in range(count)]
        self.pools[name] = pool
        return pool

    def answer_next(
        self, method: str, status: int, code: str, message: str, **headers: str
    ) -> None:
        """Refuse the next request of this method, in the shape of Azure's errors."""
        body = {"error": {"code": code, "message": message}}
        response = web.json_response(body, status=status, headers=headers)
        self._answers.append((method, response))

    def lose_next(self, method: str) -> None:
        """Carry the next request of this method out, and cut the connection before the answer."""
        self._answers.append((method, None))

    def finish(self, *, error: dict[str, str] | None = None) -> None:
        """Let all that is under way end."""
        for operation in self.operations.values():
            if operation.status == "InProgress":
                self._finish(operation, error)

    def orders(self) -> list[Seen]:
        return [one for one in self.seen if one.method in {"PUT", "POST"}]

    def _finish(self, operation: Operation, error: dict[str, str] | None) -> None:
        pool = self.pools[operation.pool]
        operation.status, operation.error = ("Failed", error) if error else ("Succeeded", None)
        pool.tag += 1
        pool.properties["provisioningState"] = operation.status
        if error:
            pool.properties["status"] = {"provisioningError": error}
            return
        pool.properties.pop("status", None)
        if operation.kind == "remove":
            pool.machines = [one for one in pool.machines if one not in operation.machines]
        while len(pool.machines) < pool.properties["count"]:
            pool.machines.append(self._machine(pool.name))

    def _machine(self, pool: str) -> str:
        self._made += 1
        return f"aks-{pool}-30513148-vmss{self._made:06x}"

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read()) if request.can_read_body else None
        stated = request.headers.get("If-Match")
        if_match = None if stated is None else stated.strip('"')
        self.seen.append(Seen(request.method, request.path, if_match, body))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "AuthenticationFailed", "Authentication failed.")
        if request.query.get("api-version") != API_VERSION:
            return _error(400, "InvalidApiVersionParameter", "The api-version is invalid.")
        cut = False
        for index, (method, answer) in enumerate(self._answers):
            if method == request.method:
                del self._answers[index]
                if answer is not None:
                    return answer
                cut = True
                break
        response = self._perform(request, body)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    def _perform(self, request: web.Request, body: Any) -> web.Response:
        if request.method == "GET" and request.path == _BASE:
            return web.json_response({"value": [one.document() for one in self.pools.values()]})
        if match := re.fullmatch(rf"{re.escape(_OPERATIONS)}/(\w+)", request.path):
            return self._tell(match[1])
        match = re.fullmatch(rf"{re.escape(_BASE)}/([a-z0-9]+)(/\w+)?", request.path)
        pool = self.pools.get(match[1]) if match else None
        if match is None or pool is None:
            return _error(404, "NotFound", "The agent pool was not found.")
        match request.method, match[2]:
            case "PUT", None:
                return self._resize(pool, body)
            case "POST", "/deleteMachines":
                return self._delete_machines(pool, body)
            case "GET", "/machines":
                named = [{"id": f"{_BASE}/{pool.name}/machines/{one}", "name": one}
                         for one in pool.machines]  # fmt: skip
                return web.json_response({"value": named})
            case _:
                return _error(405, "MethodNotAllowed", "The contract does not name this.")

    def _resize(self, pool: Pool, body: Any) -> web.Response:
        wanted = body["properties"]
        unknown = wanted.keys() - _SETTABLE
        if unknown or body.keys() - {"properties"}:
            return _error(400, "InvalidParameter", f"Not to be set: {sorted(unknown)}.")
        kept = {key for key in pool.properties.keys() & _SETTABLE if key != "count"}
        if any(wanted.get(key) != pool.properties[key] for key in kept):
            return _error(400, "PropertyChangeNotAllowed", "Only the count may be changed here.")
        if wanted["enableAutoScaling"]:
            return _error(400, "InvalidParameter", "The autoscaler owns the count.")
        if self.seen[-1].if_match not in {None, f"tag-{pool.tag}"}:
            return _error(412, "EtagMismatch", "The agent pool has been changed meanwhile.")
        if (busy := self._busy()) is not None:
            return busy
        pool.properties["count"] = wanted["count"]
        headers = self._begin(Operation("size", pool.name))
        pool.properties["provisioningState"] = "Scaling"
        return web.json_response(pool.document(), status=200, headers=headers)

    def _delete_machines(self, pool: Pool, body: Any) -> web.Response:
        if body.keys() != {"machineNames"}:
            return _error(400, "InvalidParameter", "Machine names are required.")
        if (busy := self._busy()) is not None:
            return busy
        there = [one for one in body["machineNames"] if one in pool.machines]
        pool.properties["count"] -= len(there)
        headers = self._begin(Operation("remove", pool.name, machines=there))
        pool.properties["provisioningState"] = "Deleting"
        return web.Response(status=202, headers=headers)

    def _begin(self, operation: Operation) -> dict[str, str]:
        name = f"op{len(self.operations)}"
        self.operations[name] = operation
        self.pools[operation.pool].tag += 1
        address = f"{ENDPOINT}{_OPERATIONS}/{name}?api-version={API_VERSION}"
        kind = "Location" if self.by_location else "Azure-AsyncOperation"
        return {kind: address, "Retry-After": self.retry_after}

    def _busy(self) -> web.Response | None:
        for operation in self.operations.values():
            if operation.status == "InProgress":
                message = (
                    f"Operation is not allowed: another agentpool operation ({operation.pool} - "
                    "Scaling) is in progress, please wait for it to finish."
                )
                return _error(409, "OperationNotAllowed", message)
        return None

    def _tell(self, name: str) -> web.Response:
        operation = self.operations.get(name)
        if operation is None:
            return _error(404, "NotFound", "The operation is not known.")
        headers = {"Retry-After": self.retry_after}
        if self.by_location:
            if operation.error:
                return web.json_response({"error": operation.error}, status=409)
            running = operation.status == "InProgress"
            return web.Response(status=202 if running else 204, headers=headers)
        found: dict[str, Any] = {"name": name, "status": operation.status}
        if operation.error:
            found["error"] = operation.error
        return web.json_response(found, headers=headers)


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


class LocalTransport(AioHttpTransport):
    """Sends what is meant for Azure to the service at this port, after all policies have run."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def send(self, request: Any, **config: Any) -> Any:
        parts = urlsplit(request.url)
        assert f"{parts.scheme}://{parts.netloc}" == ENDPOINT
        request.url = parts._replace(scheme="http", netloc=f"127.0.0.1:{self._port}").geturl()
        return await super().send(request, **config)


class Credential:
    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        await asyncio.sleep(0)
        return AccessToken(TOKEN, 2**31)

    async def close(self) -> None:
        """Nothing is held."""
