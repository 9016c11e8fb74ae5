"""One part of the cluster: a component, and what it needs to start and to be ready."""

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_local.cluster.component import Component
from slipway_local.cluster.machine.box import Box
from slipway_local.part import silent

START_SECONDS = 120.0
"""A machine that is busy with tests is slow; this one takes three seconds when it is not."""
STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one part is started, and how one sees that it is ready."""

    command: Callable[[], Sequence[str]]
    environment: Mapping[str, str]
    ready: Callable[[], Awaitable[bool]]
    ports: Sequence[int] = ()
    address: str = ""
    box: Box | None = None
    """Where it runs; None for this machine itself."""

    fetch: Callable[[Callable[[str], None]], Awaitable[Path]] | None = None
    after_start: Callable[[], Awaitable[None]] | None = None


class Piece:
    def __init__(self, recipe: Recipe, component: Component) -> None:
        self._recipe = recipe
        self.component = component

    @property
    def name(self) -> str:
        return self.component.name

    @property
    def address(self) -> str:
        return self._recipe.address

    @property
    def shown_address(self) -> str:
        return self.address

    @property
    def pid(self) -> int | None:
        return self.component.pid

    @property
    def log(self) -> Path:
        return self.component.log

    async def prepare(self, note: Callable[[str], None]) -> None:
        if self._recipe.fetch is not None:
            await self._recipe.fetch(note)

    async def start(self) -> None:
        if self.pid is not None:
            return
        await self.prepare(silent)
        command = self._recipe.command()
        box = self._recipe.box
        await self.component.start(
            command if box is None else box.inside(command),
            environment=self._recipe.environment,
            ports=self._recipe.ports,
            ready=self._recipe.ready,
            seconds=START_SECONDS,
        )
        if self._recipe.after_start is not None:
            await self._recipe.after_start()

    def pause(self) -> None:
        self.component.pause()

    def resume(self) -> None:
        self.component.resume()

    async def stop(self) -> None:
        await self.component.stop(signal_number=signal.SIGTERM, grace=STOP_SECONDS)

    async def kill(self) -> None:
        await self.component.kill(with_descendants=True)
