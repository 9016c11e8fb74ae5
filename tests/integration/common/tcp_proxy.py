"""A proxy that can lose an answer: the server has acted, and the caller is not told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LosingProxy:
    """Passes everything on, until it meets what it was told to lose the answer of."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._mark: bytes | None = None
        self.port = 0
        self.lost = 0

    def lose_answer_to(self, mark: bytes) -> None:
        """Of the next request whose bytes contain the mark."""
        self._mark = mark

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        losing = asyncio.Event()
        pumps = [
            asyncio.create_task(self._to_server(reader, server_writer, losing)),
            asyncio.create_task(self._to_caller(server_reader, writer, losing)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for each in (writer, server_writer):
            each.close()

    async def _to_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if self._mark is not None and self._mark in data:
                self._mark = None
                losing.set()
            writer.write(data)
            await writer.drain()

    async def _to_caller(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            if losing.is_set():
                self.lost += 1
                return
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def losing_proxy(host: str, port: int) -> AsyncIterator[LosingProxy]:
    proxy = LosingProxy(host, port)
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        yield proxy
