"""Leave nodes to the cluster's own autoscaler: it follows the pods that wait, placeholders too.

Nothing is ever ordered here; what remains is to keep placeholders and to tell estimates.
"""

from collections.abc import Iterable, Mapping, Sequence

from typing_extensions import override

from slipway_scheduler.nodes.base import CloudRefusedError, NodePools, Progress
from slipway_scheduler.nodes.models import PoolStatus
from slipway_scheduler.nodes.specs import PoolSpec


class AutoscalerPools(NodePools):
    def __init__(self, specs: Iterable[PoolSpec]) -> None:
        self._statuses = {spec.name: PoolStatus(spec.name, target=None) for spec in specs}

    @override
    async def look(self) -> Mapping[str, PoolStatus]:
        return self._statuses

    @override
    async def machines(self, pool: str) -> frozenset[str]:
        return frozenset()

    @override
    async def set_size(self, status: PoolStatus, count: int) -> str:
        raise CloudRefusedError("nodes are left to the cluster's own autoscaler")

    @override
    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        raise CloudRefusedError("nodes are left to the cluster's own autoscaler")

    @override
    async def progress(self, operation: str) -> Progress:
        return Progress(over=True)
