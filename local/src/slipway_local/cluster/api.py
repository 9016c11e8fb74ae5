"""The few calls to an API server that the cluster makes itself, for one user.

Plain JSON over HTTP: what is asked here has not changed in ten years of Kubernetes.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from slipway_local.errors import LocalError
from slipway_local.together import together

CALL_SECONDS = 20.0
AT_ONCE = 20
NOT_FOUND = 404
CONFLICT = 409


class ApiError(LocalError):
    """The API server answered, and refused."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Api:
    """One user of one API server; a context manager that closes its connections."""

    def __init__(self, server: str, authority: bytes, session: aiohttp.ClientSession) -> None:
        """``authority`` is the certificate that the server's own is signed by."""
        self.server = server
        self.authority = authority
        self._session = session

    @classmethod
    async def open(cls, kubeconfig: Path) -> Self:
        """Take server and user from the kubeconfig's current context."""
        found, load = _library()
        try:
            await load(config_file=str(kubeconfig), client_configuration=found)
        except Exception as error:  # of the library, of the reader of YAML, of the system
            raise LocalError(f"{kubeconfig} is no kubeconfig that can be used: {error}") from error
        context = ssl.create_default_context(cafile=found.ssl_ca_cert)
        if not found.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if found.cert_file:
            context.load_cert_chain(found.cert_file, found.key_file)
        token = await found.get_api_key_with_prefix("BearerToken")
        session = aiohttp.ClientSession(
            headers={"Authorization": token} if token else {},
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
        )
        return cls(str(found.host).rstrip("/"), _content(found.ssl_ca_cert), session)

    async def close(self) -> None:
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def is_ready(self) -> bool:
        """Raise what ``asyncio`` raises when nothing answers."""
        try:
            async with self._session.get(f"{self.server}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    async def get(self, path: str) -> dict[str, Any] | None:
        """Return the object; None if there is none."""
        try:
            return await self._ask("GET", path, None)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return None
            raise

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", path, body)

    async def create_all(self, path: str, bodies: Sequence[Mapping[str, Any]]) -> None:
        """Create many objects, some at a time."""
        places = asyncio.Semaphore(AT_ONCE)

        async def create(body: Mapping[str, Any]) -> None:
            async with places:
                await self.create(path, body)

        await together([create(body) for body in bodies])

    async def names(self, path: str) -> set[str]:
        """The names of all objects of a kind."""
        found = await self._ask("GET", path, None)
        return {str(item["metadata"]["name"]) for item in found["items"]}

    async def ensure(self, path: str, body: Mapping[str, Any]) -> None:
        """Create the object; one that exists already stays as it is."""
        try:
            await self._ask("POST", path, body)
        except ApiError as error:
            if error.status != CONFLICT:
                raise

    async def delete(self, path: str) -> None:
        """Delete the object; one that is gone already is gone."""
        try:
            await self._ask("DELETE", path, None)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            async with self._session.request(method, f"{self.server}{path}", json=body) as answer:
                content: dict[str, Any] = await answer.json(content_type=None)
        except aiohttp.ClientError as error:
            raise LocalError(f"{method} {path}: {error}") from error
        if answer.status >= 300:
            reason = content.get("message", answer.reason)
            raise ApiError(answer.status, f"{method} {path}: {answer.status} {reason}")
        return content


def _content(path: str | None) -> bytes:
    return Path(path).read_bytes() if path else b""


def _library() -> tuple[Any, Any]:
    """An empty configuration, and what fills it; of a library that names no types."""
    # Imported here: it takes longer than all else that the command line needs.
    from kubernetes_asyncio.client import Configuration
    from kubernetes_asyncio.config import load_kube_config

    configuration: Any = Configuration
    return configuration(), load_kube_config
