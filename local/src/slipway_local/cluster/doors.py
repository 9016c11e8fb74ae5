"""Doors: addresses that pods can reach, behind which something else answers.

The local cluster has nobody who makes the addresses of services work, and parts of the stack
listen on loopback alone. A door listens where pods look for either, and passes on what comes.
"""

import asyncio
import random
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from slipway_local.cluster.api import Api
from slipway_local.errors import LocalError

CONNECT_SECONDS = 10
IP_SECONDS = 20
CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    host: str
    port: int


Find = Callable[[], Awaitable[Sequence[Place]]]
"""Who answers at this moment; nobody: the caller is turned away."""


class Doors:
    def __init__(self, interface: str) -> None:
        """``interface``: of this machine, and on the way of all pods."""
        self._interface = interface
        self._servers: list[asyncio.Server] = []
        self._addresses: list[str] = []
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self, at: Place, find: Find, *, add_address: bool = False) -> None:
        """``add_address``: the machine does not have it yet, and gets it until the end."""
        if add_address:
            await self._ip("add", at.host)
            self._addresses.append(at.host)

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            if task is not None:
                self._passing.add(task)
                task.add_done_callback(self._passing.discard)
            await _pass_on(reader, writer, find)

        try:
            self._servers.append(await asyncio.start_server(take, at.host, at.port))
        except OSError as error:
            raise LocalError(f"nothing can listen at {at.host}:{at.port}: {error}") from error

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in [*self._passing]:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)
        for address in self._addresses:
            await self._ip("delete", address)
        self._servers.clear()
        self._addresses.clear()

    async def _ip(self, what: str, address: str) -> None:
        command = ["ip", "address", what, f"{address}/32", "dev", self._interface]
        # Not the loop's own way to start programs: others here collect what has ended.
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, check=False, text=True, timeout=IP_SECONDS
        )
        # A cluster that has ended took its bridge along, and one that was killed left an address.
        if done.returncode != 0 and what == "add" and "exists" not in done.stderr.lower():
            raise LocalError(f"{' '.join(command)}: {done.stderr.strip()}")


def always(host: str, port: int) -> Find:
    async def find() -> Sequence[Place]:
        return [Place(host, port)]

    return find


def ready_endpoints(api: Api, *, namespace: str, service: str) -> Find:
    """The pods behind a service that are ready now, as the API server knows them."""
    path = (
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        f"?labelSelector=kubernetes.io/service-name={service}"
    )

    async def find() -> Sequence[Place]:
        found = await api.get(path)
        return [
            Place(endpoint["addresses"][0], each["ports"][0]["port"])
            for each in (found or {"items": []})["items"]
            for endpoint in each["endpoints"] or []
            if endpoint["conditions"].get("ready")
        ]

    return find


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, find: Find) -> None:
    try:
        places = await find()
        if not places:
            return
        place = random.choice(places)  # noqa: S311 - spreads load, guards nothing
        async with asyncio.timeout(CONNECT_SECONDS):
            other_reader, other_writer = await asyncio.open_connection(place.host, place.port)
        try:
            await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
        finally:
            other_writer.close()
    except (OSError, TimeoutError, LocalError):
        return  # one of the two has gone; the other sees the connection end
    finally:
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
