"""A TCP proxy whose weather a test makes: fair, silent, cut, or one that swallows the answers.

It looks at no content, so it works for TLS as well.
"""

import asyncio
import contextlib
from typing import Self

_CHUNK = 64 * 1024


class Weather:
    """Stands between a client and a server on this machine."""

    def __init__(self, *, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._answers = asyncio.Event()
        self._answers.set()
        self._swallowing = False
        self.refusing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._answers.set()
        self.cut()

    @property
    def port(self) -> int:
        assert self._server is not None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    def cut(self) -> None:
        """Break all connections at once, whatever is under way."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def silence(self, seconds: float) -> None:
        """Connections stay, requests arrive, and nothing comes back for so long."""
        self._answers.clear()
        await asyncio.sleep(seconds)
        self._answers.set()

    async def lose_answers(self, seconds: float) -> None:
        """What is asked is done, and nobody hears of it: then the connections break."""
        self._swallowing = True
        await asyncio.sleep(seconds)
        self.cut()
        self._swallowing = False

    async def refuse(self, seconds: float) -> None:
        self.refusing = True
        self.cut()
        await asyncio.sleep(seconds)
        self.refusing = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(
                self._pass_on(reader, far_writer, answers=False),
                self._pass_on(far_reader, writer, answers=True),
            )
        finally:
            self._writers -= {writer, far_writer}
            for each in (writer, far_writer):
                each.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if answers:
                    await self._answers.wait()
                    if self._swallowing:
                        continue
                writer.write(chunk)
                await writer.drain()
        writer.transport.abort()
