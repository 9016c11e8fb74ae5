"""The session's log: what the engine prints, bounded, and sent home whole each time it grows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from slipway_common.contracts.problems import ProblemError
from slipway_runner.home import Home

SEND_SECONDS = 2.0
MAX_BYTES = 2 * 1024 * 1024
MAX_LINE = 8 * 1024
_CUT = b"[earlier lines were dropped]\n"


class SessionLog:
    def __init__(self) -> None:
        self._content = bytearray()
        self._dropped = False
        self.revision = 0

    def add(self, line: str) -> None:
        """Add one line, with its time; control characters are shown and not obeyed."""
        at = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        text = "".join(
            letter if letter.isprintable() or letter == "\t" else repr(letter)[1:-1]
            for letter in line.rstrip("\n")[:MAX_LINE]
        )
        self._content += f"{at}Z {text}\n".encode()
        if len(self._content) > MAX_BYTES:
            # Half at a time, and from the start of a line, so that dropping stays rare and clean.
            start = self._content.index(b"\n", MAX_BYTES // 2) + 1
            del self._content[:start]
            self._dropped = True
        self.revision += 1

    def content(self) -> bytes:
        return (_CUT if self._dropped else b"") + bytes(self._content)

    def tail(self, lines: int = 5) -> str:
        recent = bytes(self._content[-4096:]).decode(errors="replace").splitlines()
        return "\n".join(line.partition(" ")[2] for line in recent[-lines:])


@asynccontextmanager
async def sent_home(log: SessionLog, home: Home) -> AsyncIterator[None]:
    """Send it whenever it has grown, for as long as the block lasts."""

    async def send() -> None:
        sent = -1
        while True:
            await asyncio.sleep(SEND_SECONDS)
            if log.revision != sent:
                sent = log.revision
                with suppress(ProblemError):
                    await home.store_log(log.content())

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
