"""What every part of the stack can do, and the states it goes through."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class PartState(StrEnum):
    WAITING = "waiting"
    PREPARING = "preparing"
    """Its programs are being fetched or its first data made."""

    STARTING = "starting"
    RUNNING = "running"
    CRASHED = "crashed"
    """Ended by itself; the supervisor starts it again."""

    FAILED = "failed"
    STOPPED = "stopped"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Progress:
    name: str
    state: PartState
    detail: str = ""


Report = Callable[[Progress], None]


class Part(Protocol):
    """Something that runs beside us. Each method is safe to call in any state."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> str:
        """Where clients reach it; may hold a secret."""
        ...

    @property
    def shown_address(self) -> str:
        """The address without secrets."""
        ...

    @property
    def pid(self) -> int | None:
        """None while it does not run, or runs elsewhere."""
        ...

    @property
    def log(self) -> Path | None:
        """None if it runs elsewhere."""
        ...

    async def prepare(self, note: Callable[[str], None]) -> None:
        """Fetch programs and make first data; quick when that was done before."""
        ...

    async def start(self) -> None:
        """Return when it is ready; raise PartError when it does not get there."""
        ...

    async def stop(self) -> None: ...

    async def kill(self) -> None:
        """End it as a crash would. ``start`` works afterwards, on the same port."""
        ...


def silent(_: str) -> None:
    """Take notes nowhere."""
