"""A part that runs elsewhere: its address was given, so nothing is started here."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from slipway_local.errors import PartError

CONNECT_SECONDS = 10.0
DEFAULT_PORTS = {"postgres": 5432, "postgresql": 5432, "http": 80, "https": 443}


class External:
    """Stands in for a part of our own. Starting it checks that somebody is there."""

    def __init__(self, name: str, address: str, *, variable: str) -> None:
        """``variable`` is the setting that the address came from, for messages."""
        self._name = name
        self._address = address
        self._variable = variable

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> str:
        return self._address

    @property
    def shown_address(self) -> str:
        match self._name:
            case "postgres":
                return without_password(self._address)
            case "azurite":
                return blob_endpoint(self._address)
            case _:
                return self._address

    @property
    def pid(self) -> int | None:
        return None

    @property
    def log(self) -> Path | None:
        return None

    async def prepare(self, note: Callable[[str], None]) -> None:
        """There is nothing to fetch."""

    async def start(self) -> None:
        for host, port in self._endpoints():
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, writer = await asyncio.open_connection(host, port)
            except (OSError, TimeoutError):
                continue
            writer.close()
            return
        raise PartError(
            self._name, f"nothing answers at {self.shown_address} (from {self._variable})"
        )

    async def stop(self) -> None:
        """It is not ours to stop."""

    async def kill(self) -> None:
        raise PartError(self._name, f"runs elsewhere ({self._variable}); it is not ours to kill")

    def _endpoints(self) -> list[tuple[str, int]]:
        """Each host and port behind the address; one that answers is enough."""
        try:
            found = [self._endpoint(text) for text in self._texts()]
        except ValueError as error:
            raise PartError(self._name, f"{self._variable} is not an address: {error}") from None
        if not found:
            raise PartError(self._name, f"{self._variable} names no host")
        return found

    def _texts(self) -> list[str]:
        if self._name == "kafka":
            return [f"kafka://{one.strip()}" for one in self._address.split(",") if one.strip()]
        return [self.shown_address]

    def _endpoint(self, text: str) -> tuple[str, int]:
        parts = urlsplit(text)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if not parts.hostname or port is None:
            raise ValueError("host and port are needed")
        return parts.hostname, port


def without_password(dsn: str) -> str:
    """Return a database's address without password and options."""
    parts = urlsplit(dsn)
    user, _, place = parts.netloc.rpartition("@")
    name = user.partition(":")[0]
    return urlunsplit((parts.scheme, f"{name}@{place}" if name else place, parts.path, "", ""))


def blob_endpoint(connection_string: str) -> str:
    """Return where the connection string leads, without its key."""
    fields = {
        name.strip().lower(): value.strip()
        for name, _, value in (field.partition("=") for field in connection_string.split(";"))
    }
    if endpoint := fields.get("blobendpoint"):
        # A shared access signature stands in the query.
        return urlunsplit((*urlsplit(endpoint)[:3], "", ""))
    scheme = fields.get("defaultendpointsprotocol", "https")
    suffix = fields.get("endpointsuffix", "core.windows.net")
    return f"{scheme}://{fields.get('accountname', '')}.blob.{suffix}"
