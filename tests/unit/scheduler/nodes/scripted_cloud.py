"""A cloud that does what a test says, and notes what it was asked."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from slipway_scheduler.nodes.base import CloudError, NodePools, Progress
from slipway_scheduler.nodes.models import PoolStatus


async def nothing() -> None:
    """Before an order, by default."""


@dataclass
class ScriptedCloud(NodePools):
    statuses: dict[str, PoolStatus] = field(default_factory=dict)
    operations: dict[str, Progress] = field(default_factory=dict)
    orders: list[tuple[str, object]] = field(default_factory=list)
    errors: list[CloudError] = field(default_factory=list)
    """Of the next orders."""

    operation: str = ""
    """Named by each order."""

    made: dict[str, frozenset[str]] = field(default_factory=dict)
    before_order: Callable[[], Awaitable[None]] = nothing

    async def look(self) -> Mapping[str, PoolStatus]:
        return dict(self.statuses)

    async def machines(self, pool: str) -> frozenset[str]:
        return self.made.get(pool, frozenset())

    async def set_size(self, status: PoolStatus, count: int) -> str:
        await self._order("size", count)
        self.statuses[status.name] = replace(self.statuses[status.name], target=count)
        return self.operation

    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        await self._order("remove", tuple(nodes))
        return self.operation

    async def progress(self, operation: str) -> Progress:
        return self.operations.get(operation, Progress(over=False))

    async def _order(self, kind: str, what: object) -> None:
        await self.before_order()
        self.orders.append((kind, what))
        if self.errors:
            raise self.errors.pop(0)
