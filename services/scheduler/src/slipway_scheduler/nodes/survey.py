"""Asks the cloud how its pools are, and keeps the pools' records in line with that.

Work of the cloud is asked about at its own pace and never waited for. A record says what is under
way, so that whoever leads next goes on asking.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import structlog

from slipway_common.metrics import nodes as metrics
from slipway_scheduler.nodes.base import CloudError, NodePools
from slipway_scheduler.nodes.models import NodePhase, NodeSeen, PoolStatus
from slipway_scheduler.nodes.orders import Orders
from slipway_scheduler.nodes.progress import failed, follow, late
from slipway_scheduler.nodes.records import Record
from slipway_scheduler.nodes.specs import NodeLimits

logger = structlog.get_logger(__name__)


class Survey:
    def __init__(
        self,
        cloud: NodePools,
        orders: Orders,
        *,
        book: Mapping[str, Record],
        limits: NodeLimits,
        jitter: Callable[[], float],
    ) -> None:
        self._cloud = cloud
        self._orders = orders
        self._book = book
        self._limits = limits
        self._jitter = jitter
        self._silent = False

    async def statuses(self, now: datetime) -> dict[str, PoolStatus]:
        """By pool; none of a cloud that does not answer, so that nothing is ordered of it."""
        try:
            found = await self._cloud.look()
            statuses = {
                pool: await self._complete(found.get(pool) or _unknown(pool), record, now)
                for pool, record in self._book.items()
            }
        except CloudError as error:
            if not self._silent:
                logger.warning("the cloud does not tell", reason=str(error))
            self._silent = True
            return {}
        self._silent = False
        return statuses

    async def _complete(self, status: PoolStatus, record: Record, now: datetime) -> PoolStatus:
        if record.operation:
            await self._ask_about(status.name, record.operation, now)
        quiet = self._orders.quiet_until.get(status.name)
        if self._book[status.name].operation and not status.busy:
            status = replace(status, busy="our last order")
        elif quiet is not None and now < quiet:
            status = replace(status, busy=status.busy or "a pause after the last order")
        if status.failed or record.late:
            machines = await self._cloud.machines(status.name)
            status = replace(status, machines=machines)
        return status

    async def _ask_about(self, pool: str, operation: str, now: datetime) -> None:
        progress = await self._cloud.progress(operation)
        if not progress.over:
            return
        if progress.problem:
            await self._fail(pool, progress.problem, now)
        await self._orders.write(pool, operation="")

    async def keep(
        self,
        pool: str,
        status: PoolStatus | None,
        nodes: Sequence[NodeSeen],
        *,
        lacking: int,
        now: datetime,
    ) -> None:
        """``lacking``: nodes that are needed; where the cloud decides, all that we know."""
        before = self._book[pool]
        names = {node.name for node in nodes}
        record = msgspec.structs.replace(
            before,
            leaving=tuple(name for name in before.leaving if name in names),
            removing={name: at for name, at in before.removing.items() if name in names},
        )
        if status is not None:
            missing = lacking if status.target is None else _missing(status.target, nodes)
            record = follow(record, missing=missing, nodes=nodes, now=now, limits=self._limits)
        if record != before:
            await self._orders.replace(pool, record)
        self._count(pool, before, record)
        overdue = late(record.asked, now, self._limits)
        if overdue > record.late:
            minutes = self._limits.boot_longest.total_seconds() / 60
            await self._fail(pool, f"{overdue} nodes did not come within {minutes:g} min", now)
        elif status is not None and status.failed and not status.busy and record.retry_at is None:
            # Its order was given by a leader that could not note it any more.
            await self._fail(pool, status.failed, now)
        if overdue != record.late:
            await self._orders.write(pool, late=overdue)

    async def _fail(self, pool: str, problem: str, now: datetime) -> None:
        record = failed(
            self._book[pool], problem, now=now, limits=self._limits, jitter=self._jitter()
        )
        await self._orders.replace(pool, record)
        metrics.node_failures.labels(pool).inc()
        logger.warning("nodes failed to come", pool=pool, reason=problem, retry_at=record.retry_at)

    @staticmethod
    def _count(pool: str, before: Record, after: Record) -> None:
        new = len(after.came) - len(set(after.came) & set(before.came))
        for seconds in after.boots[-new:] if new else ():
            metrics.node_boot_seconds.labels(pool).observe(seconds)


def _unknown(pool: str) -> PoolStatus:
    return PoolStatus(pool, target=0, unmanaged="the cloud has no pool of this name")


def _missing(target: int, nodes: Sequence[NodeSeen]) -> int:
    """How many nodes are to come."""
    return max(0, target - sum(node.phase is not NodePhase.COMING for node in nodes))
