"""Agent pools of AKS, over Azure's management API.

An order that is accepted names an operation; how that goes is asked later, at the service's own
pace. Sizes are ordered with If-Match, so an order that is based on an old look is refused. The
client library's own retries are off: what to repeat, and when, is decided by the loop.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from copy import deepcopy
from typing import Any, Self, TypeVar

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.rest import HttpRequest
from typing_extensions import override

from slipway_common.settings import SettingsGroup
from slipway_scheduler.nodes.base import (
    CloudBusyError,
    CloudError,
    CloudRefusedError,
    CloudSilentError,
    CloudThrottledError,
    NodePools,
    Progress,
)
from slipway_scheduler.nodes.models import PoolStatus

T = TypeVar("T")

CALL_SECONDS = 15.0
PACE_SECONDS = 10.0
"""Between two questions about the same thing, unless the service names another pace."""

LARGEST = 1000
SETTLED = frozenset({"Succeeded", "Failed", "Canceled"})
BUSY_CODES = frozenset({"OperationNotAllowed", "EtagMismatch", "PutAgentPoolConflict"})
QUOTA = "quota"
RETRY_AFTER_SECONDS = 60.0
"""When the service asks for a pause and does not say how long."""


class AksSettings(SettingsGroup):
    subscription: str
    resource_group: str
    cluster: str
    endpoint: str = "https://management.azure.com"
    """Another one in the clouds of some countries."""


class AksPools(NodePools):
    """``client`` is a ``ContainerServiceClient`` whose own retries are off."""

    def __init__(
        self,
        client: Any,
        settings: AksSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._where = (settings.resource_group, settings.cluster)
        self._endpoint = settings.endpoint.rstrip("/")
        self._clock = clock
        self._bodies: dict[str, Any] = {}
        self._statuses: dict[str, PoolStatus] = {}
        self._machines: dict[str, tuple[float, frozenset[str]]] = {}
        """Until when they are believed, and which they are."""

        self._look_at = 0.0
        self._ask_at: dict[str, float] = {}

    @classmethod
    async def open(cls, settings: AksSettings, stack: AsyncExitStack) -> Self:
        """As the pod's own identity, or as whom the environment names."""
        from azure.identity.aio import DefaultAzureCredential
        from azure.mgmt.containerservice.aio import ContainerServiceClient

        credential = await stack.enter_async_context(DefaultAzureCredential())
        client = ContainerServiceClient(
            credential,
            settings.subscription,
            base_url=settings.endpoint,
            credential_scopes=[f"{settings.endpoint.rstrip('/')}/.default"],
            retry_total=0,
        )
        return cls(await stack.enter_async_context(client), settings)

    @override
    async def look(self) -> Mapping[str, PoolStatus]:
        if self._clock() >= self._look_at:
            found = await self._call(self._all(self._client.agent_pools.list(*self._where)))
            self._bodies = {pool.name: pool for pool in found}
            self._statuses = {pool.name: _status(pool) for pool in found}
            self._look_at = self._clock() + PACE_SECONDS
        return self._statuses

    @override
    async def machines(self, pool: str) -> frozenset[str]:
        known = self._machines.get(pool)
        if known is not None and self._clock() < known[0]:
            return known[1]
        listing = self._client.machines.list(*self._where, pool)
        found = frozenset(machine.name for machine in await self._call(self._all(listing)))
        self._machines[pool] = (self._clock() + PACE_SECONDS, found)
        return found

    @override
    async def set_size(self, status: PoolStatus, count: int) -> str:
        body = self._bodies.get(status.name)
        if body is None or _status(body).version != status.version:
            raise CloudBusyError("the pool has changed since it was looked at")
        changed = deepcopy(body)
        changed.count = count
        unchanged_since: dict[str, Any] = (
            {"etag": status.version, "match_condition": MatchConditions.IfNotModified}
            if status.version
            else {}
        )
        return await self._order(
            self._client.agent_pools.begin_create_or_update(
                *self._where, status.name, changed, polling=False, cls=_headers, **unchanged_since
            )
        )

    @override
    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        return await self._order(
            self._client.agent_pools.begin_delete_machines(
                *self._where,
                status.name,
                {"machineNames": list(nodes)},
                polling=False,
                cls=_headers,
            )
        )

    @override
    async def progress(self, operation: str) -> Progress:
        """The operation is the address that the service has named for it."""
        if not operation.startswith(f"{self._endpoint}/"):
            # It was read from a record: our credentials go to nobody else.
            return Progress(over=True, problem="the operation is at an address that is not Azure's")
        if self._clock() < self._ask_at.get(operation, 0.0):
            return Progress(over=False)
        answer = await self._call(self._client.send_request(HttpRequest("GET", operation)))
        if answer.status_code == 404:
            return self._over(operation)  # it is forgotten after some days
        if answer.status_code >= 400:
            error = _error_of(HttpResponseError(response=answer))
            if isinstance(error, CloudThrottledError | CloudSilentError):
                raise error
            return self._over(operation, problem=str(error))
        found = _document(answer)
        status = str(found.get("status") or ("InProgress" if answer.status_code == 202 else ""))
        if status in {"Failed", "Canceled"}:
            return self._over(operation, problem=_reason(found.get("error") or {}) or status)
        if status in {"Succeeded", ""}:
            return self._over(operation)
        self._ask_at[operation] = self._clock() + (_retry_after(answer.headers) or PACE_SECONDS)
        return Progress(over=False)

    def _over(self, operation: str, *, problem: str = "") -> Progress:
        self._ask_at.pop(operation, None)
        self._forget()
        return Progress(over=True, problem=problem)

    def _forget(self) -> None:
        self._look_at = 0.0
        self._machines.clear()

    async def _order(self, begin: Awaitable[Any]) -> str:
        self._forget()  # whatever becomes of it, what we know is old now
        poller = await self._call(begin)
        headers: Mapping[str, str] = await poller.result()
        return headers.get("Azure-AsyncOperation") or headers.get("Location") or ""

    @staticmethod
    async def _all(listing: Any) -> list[Any]:
        return [one async for one in listing]

    async def _call(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await call
        except HttpResponseError as error:
            raise _error_of(error) from error
        except (AzureError, TimeoutError) as error:
            raise CloudSilentError(f"Azure does not answer: {type(error).__name__}") from error


def _status(pool: Any) -> PoolStatus:
    state = str(pool.provisioning_state or "")
    return PoolStatus(
        name=str(pool.name),
        target=int(pool.count or 0),
        minimum=1 if pool.mode == "System" else 0,
        maximum=LARGEST,
        busy="" if state in SETTLED else state.lower() or "something",
        failed=_failure(pool) if state in {"Failed", "Canceled"} else "",
        unmanaged=_unmanaged(pool),
        version=str(pool.e_tag or ""),
    )


def _unmanaged(pool: Any) -> str:
    if pool.enable_auto_scaling:
        return (
            "AKS scales this pool by itself: switch its autoscaler off, "
            "or leave nodes to it (autoscaler)"
        )
    if pool.power_state is not None and pool.power_state.code == "Stopped":
        return "the pool is stopped"
    return ""


def _failure(pool: Any) -> str:
    error = None if pool.status is None else pool.status.provisioning_error
    described = {} if error is None else {"code": error.code, "message": error.message}
    return _reason(described) or "its last operation failed"


def _headers(response: Any, _: Any, __: Any) -> Mapping[str, str]:
    headers: Mapping[str, str] = response.http_response.headers
    return headers


def _error_of(error: HttpResponseError) -> CloudError:
    """Tell apart what was not accepted, what cannot be had, and what nobody knows."""
    status = error.status_code or 0
    described = _described(error)
    text = _reason(described) or f"Azure answered {status}"
    if status == 429:
        response: Any = error.response
        pause = (response and _retry_after(response.headers)) or RETRY_AFTER_SECONDS
        return CloudThrottledError(text, retry_after=pause)
    if status in {408, 500, 502, 503, 504}:
        return CloudSilentError(text)
    if QUOTA not in text.lower() and (status in {409, 412} or described.get("code") in BUSY_CODES):
        return CloudBusyError(text)
    return CloudRefusedError(text)


def _described(error: HttpResponseError) -> Mapping[str, Any]:
    if error.error is not None:
        return {"code": error.error.code, "message": error.error.message}
    found = {} if error.response is None else _document(error.response)
    inner = found.get("error")
    return inner if isinstance(inner, dict) else found


def _document(response: Any) -> Mapping[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _reason(described: Mapping[str, Any]) -> str:
    parts: Iterable[Any] = (described.get("code"), described.get("message"))
    return ": ".join(str(part)[:300] for part in parts if part)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return float(headers["Retry-After"])
    except (KeyError, ValueError):
        return None
