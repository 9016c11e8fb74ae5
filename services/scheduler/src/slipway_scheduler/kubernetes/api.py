"""Requests to the API server: raw bytes in and out, each with a time limit.

Watches and writes have connections of their own, so that neither waits behind the other.
Authentication and TLS are the client library's; its typed objects are not used, for building
them would take most of a core.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
from aiohttp.http_exceptions import LineTooLong
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, Configuration

from slipway_common.metrics import scheduler as metrics
from slipway_scheduler.kubernetes.errors import (
    StuckWatchError,
    ThrottledError,
    UnavailableError,
    error_of,
)
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from slipway_scheduler.kubernetes.objects import Metadata, Page

CALL_SECONDS = 15.0
CONNECT_SECONDS = 5.0
LONGEST_LINE = 2 * 1024**2
"""Of a watch: more than etcd takes as one object."""

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
METADATA_LIST_ONLY = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

Params = Mapping[str, str]

_METADATA_PAGE = msgspec.json.Decoder(Page[Metadata])


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object, and where it lives."""

    group: str
    plural: str
    namespace: str | None = None
    """None for what belongs to the whole cluster."""

    def path(self, name: str | None = None, *, subresource: str | None = None) -> str:
        base = "/api/v1" if self.group == "v1" else f"/apis/{self.group}"
        within = "" if self.namespace is None else f"/namespaces/{self.namespace}"
        parts = [part for part in (name, subresource) if part is not None]
        return "/".join([f"{base}{within}/{self.plural}", *parts])


class Connection:
    """One client, with a pool of connections of its own."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        # The library's own session looks for passwords and proxies in files and in the
        # environment, in a thread, at each request: two thirds of what a request costs.
        self._http = aiohttp.ClientSession(
            connector=client.rest_client.pool_manager.connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=LONGEST_LINE,
        )

    @classmethod
    async def open(cls, kubeconfig: Path | None, *, connections: int) -> Self:
        """``kubeconfig`` None: we run in a pod of the cluster."""
        configuration = Configuration()
        if kubeconfig is None:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        configuration.connection_pool_maxsize = connections
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        await self._http.close()
        await self._client.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        seconds: float = CALL_SECONDS,
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        try:
            async with self._http.request(
                method,
                self._url(path),
                params=params,
                data=None if body is None else json.dumps(body),
                headers=await self._headers(accept, content_type),
                timeout=timeout,
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnavailableError(
                f"the API server does not answer: {type(error).__name__}"
            ) from error
        metrics.kubernetes_requests.labels(method, str(answer.status)).inc()
        if answer.status >= 400:
            raise error_of(answer.status, content, retry_after=answer.headers.get("Retry-After"))
        return content

    async def lines(
        self, path: str, *, params: Params, accept: str, silence: float
    ) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a watch; StuckWatchError when nothing came for ``silence`` seconds.

        A connection that is half open is never noticed otherwise.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        try:
            async with self._http.get(
                self._url(path),
                params=params,
                headers=await self._headers(accept, "application/json"),
                timeout=timeout,
            ) as answer:
                if answer.status >= 400:
                    raise error_of(answer.status, await answer.read())
                async for line in answer.content:
                    yield line
        except aiohttp.ConnectionTimeoutError as error:
            raise UnavailableError("the API server takes no connection") from error
        except aiohttp.SocketTimeoutError as error:
            raise StuckWatchError(f"nothing came for {silence:g} s") from error
        except LineTooLong as error:
            raise StuckWatchError("a line is longer than what is read at once") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnavailableError(f"the watch broke: {type(error).__name__}") from error

    def _url(self, path: str) -> str:
        return f"{self._client.configuration.host}{path}"

    async def _headers(self, accept: str, content_type: str) -> dict[str, str]:
        headers = {"Accept": accept, "Content-Type": content_type}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"])
        return headers


class KubernetesApi:
    """What the scheduler asks of the cluster. Writes keep to the limit; reads do not."""

    def __init__(self, *, watches: Connection, writes: Connection, limiter: WriteLimiter) -> None:
        self.watches = watches
        self._writes = writes
        self._limiter = limiter

    @classmethod
    async def open(
        cls, kubeconfig: Path | None, stack: AsyncExitStack, *, limiter: WriteLimiter
    ) -> Self:
        watches = await Connection.open(kubeconfig, connections=16)
        stack.push_async_callback(watches.close)
        writes = await Connection.open(kubeconfig, connections=64)
        stack.push_async_callback(writes.close)
        return cls(watches=watches, writes=writes, limiter=limiter)

    async def get(self, resource: Resource, name: str, *, metadata_only: bool = False) -> bytes:
        """Ask the server itself, and no cache."""
        accept = METADATA_ONLY if metadata_only else "application/json"
        return await self._writes.request("GET", resource.path(name), accept=accept)

    async def list_metadata(self, resource: Resource, *, selector: str) -> list[Metadata]:
        """Names and labels of all that match, without their content."""
        found: list[Metadata] = []
        params = {"labelSelector": selector, "limit": "500"}
        while True:
            content = await self._writes.request(
                "GET", resource.path(), params=params, accept=METADATA_LIST_ONLY
            )
            page = _METADATA_PAGE.decode(content)
            found += page.items or ()
            if not page.metadata.continue_:
                return found
            params["continue"] = page.metadata.continue_

    async def create(self, resource: Resource, body: Mapping[str, Any], *, rank: Rank) -> bytes:
        return await self._write(rank, "POST", resource.path(), body=body)

    async def replace(
        self, resource: Resource, name: str, body: Mapping[str, Any], *, rank: Rank
    ) -> bytes:
        """ConflictError if the object has another resourceVersion than the body names."""
        return await self._write(rank, "PUT", resource.path(name), body=body)

    async def patch(
        self,
        resource: Resource,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        rank: Rank,
        subresource: str | None = None,
    ) -> bytes:
        """Apply a JSON patch; ConflictError if one of its tests does not hold."""
        return await self._write(
            rank,
            "PATCH",
            resource.path(name, subresource=subresource),
            body=list(operations),
            content_type="application/json-patch+json",
        )

    async def merge(
        self, resource: Resource, name: str, body: Mapping[str, Any], *, rank: Rank
    ) -> bytes:
        """Merge what is given; with a uid or resourceVersion in it, only into that object."""
        return await self._write(
            rank,
            "PATCH",
            resource.path(name),
            body=body,
            content_type="application/merge-patch+json",
        )

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        uid: str,
        rank: Rank,
        grace_seconds: int | None = None,
    ) -> None:
        """Delete this very object, and none that took its name since."""
        body: dict[str, Any] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        await self._write(rank, "DELETE", resource.path(name), body=body)

    async def _write(
        self,
        rank: Rank,
        method: str,
        path: str,
        *,
        body: Any,
        content_type: str = "application/json",
    ) -> bytes:
        await self._limiter.acquire(rank)
        try:
            return await self._writes.request(method, path, body=body, content_type=content_type)
        except ThrottledError as error:
            self._limiter.pause(error.retry_after)
            raise
