"""A mirror under test: all that it has told, and what it is asked to have told in the end."""

from collections.abc import Callable
from typing import Any

from slipway_scheduler.kubernetes.api import Connection, Resource
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.kubernetes.reflector import Reflector
from support.kubernetes.others import PODS
from support.kubernetes.server import FakeApiServer
from support.waiting import eventually

Told = tuple[str, str]


class Mirror:
    """A reflector that runs, and all that it has told."""

    def __init__(
        self,
        connection: Connection,
        *,
        resource: Resource = PODS,
        kind: type[Any] = Pod,
        selector: str = "",
        silence: float = 30,
    ) -> None:
        self.told: list[Told] = []
        self.states: list[set[str]] = []
        """What the mirror held at the moment of each change."""

        self.reflector: Reflector[Any] = Reflector(
            connection,
            resource,
            kind,
            selector=selector,
            on_change=self._on_change,
            silence=silence,
        )

    def _on_change(self, before: Any, after: Any) -> None:
        what = "added" if before is None else "deleted" if after is None else "changed"
        self.told.append((what, (after or before).metadata.name))
        self.states.append(set(self.reflector.objects))

    @property
    def names(self) -> set[str]:
        return set(self.reflector.objects)

    @property
    def version(self) -> int:
        return int(self.reflector._version or 0)

    def labels(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self.reflector.objects[name].metadata.labels
        return found

    async def has_told(self, *wanted: Told) -> None:
        """Wait for these changes, in this order, and no others."""

        async def told() -> bool:
            return len(self.told) >= len(wanted)

        await eventually(told, what=f"{len(wanted)} changes; there were {self.told}")
        assert self.told == list(wanted)

    async def knows(self, holds: Callable[[], bool], what: str) -> None:
        async def look() -> bool:
            return holds()

        await eventually(look, seconds=10, what=what)


async def watching(server: FakeApiServer, *, plural: str = "pods", times: int = 1) -> None:
    async def open_() -> bool:
        return server.watches(plural) >= times

    await eventually(open_, what="a watch")


def requests(server: FakeApiServer, verb: str) -> int:
    return server.audit.read_text().count(f'"verb":"{verb}"')
