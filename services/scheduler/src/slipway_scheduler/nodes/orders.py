"""Carrying out what was decided: each effect is written into the pool's record first.

Whoever is paused between the two finds the record changed, or has written it for the next leader
to see: so a removal that is in a record is never taken back, whoever carried it out or did not.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec
import structlog

from slipway_common.metrics import nodes as metrics
from slipway_scheduler.leadership import Leadership
from slipway_scheduler.nodes.base import (
    CloudBusyError,
    CloudError,
    CloudRefusedError,
    CloudSilentError,
    CloudThrottledError,
    NodePools,
)
from slipway_scheduler.nodes.hands import Hands
from slipway_scheduler.nodes.models import (
    Action,
    Asked,
    Cordon,
    Hold,
    Move,
    PoolStatus,
    Remove,
    SetSize,
    Uncordon,
)
from slipway_scheduler.nodes.progress import failed
from slipway_scheduler.nodes.records import Record, Records
from slipway_scheduler.nodes.specs import NodeLimits

logger = structlog.get_logger(__name__)

BUSY_PAUSE = timedelta(seconds=5)
"""A cloud that was busy is asked again after this."""


class Orders:
    """Of one leader, for as long as it leads."""

    def __init__(
        self,
        cloud: NodePools,
        records: Records,
        hands: Hands,
        *,
        leadership: Leadership,
        book: dict[str, Record],
        limits: NodeLimits,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        """``book``: the records as they were last written, by pool."""
        self._cloud = cloud
        self._records = records
        self._hands = hands
        self._leadership = leadership
        self._book = book
        self._limits = limits
        self._clock = clock
        self._jitter = jitter
        self.quiet_until: dict[str, datetime] = {}
        """The cloud takes no orders for a pool until then."""

    async def write(self, pool: str, **changes: Any) -> None:
        """Also without changes: then it proves that nobody else leads."""
        await self.replace(pool, msgspec.structs.replace(self._book[pool], **changes))

    async def replace(self, pool: str, record: Record) -> None:
        self._book[pool] = await self._records.write(pool, record, self._leadership)

    async def finish_returns(self) -> None:
        """Of nodes that were to be opened again when an earlier leader ended."""
        for pool, record in list(self._book.items()):
            for node in record.returning:
                await self._finish_return(pool, node)

    async def carry_out(self, action: Action, status: PoolStatus | None) -> None:
        match action:
            case SetSize(pool, count):
                assert status is not None
                await self._set_size(pool, count, status)
            case Cordon(pool, node):
                await self._cordon(pool, node)
            case Uncordon(pool, node):
                await self._uncordon(pool, node)
            case Move(pool, _, pods):
                await self.write(pool)
                await self._hands.put_away(pods)
            case Remove(pool, nodes):
                assert status is not None
                await self._remove(pool, nodes, status)
            case Hold():
                return
            case _:
                assert_never(action)
        logger.info(_sentence(action), pool=action.pool, why=action.why)

    async def _set_size(self, pool: str, count: int, status: PoolStatus) -> None:
        before = self._book[pool]
        now = self._clock()
        more = count - (status.target or 0)
        asked = (*before.asked, Asked(now, more)) if more > 0 else before.asked
        await self.write(pool, wanted=count, asked=asked)
        self._leadership.check()
        try:
            operation = await self._cloud.set_size(status, count)
        except CloudRefusedError as error:
            problem = failed(
                self._book[pool], str(error), now=now, limits=self._limits, jitter=self._jitter()
            )
            await self.replace(pool, msgspec.structs.replace(problem, asked=before.asked))
            metrics.node_failures.labels(pool).inc()
            logger.warning("the cloud refused nodes", pool=pool, reason=str(error))
            return
        except CloudError as error:
            self._wait(pool, error)
            raise
        await self._note(pool, operation)
        metrics.node_orders.labels(pool, "size").inc()

    async def _cordon(self, pool: str, node: str) -> None:
        leaving = self._book[pool].leaving
        await self.write(pool, leaving=leaving if node in leaving else (*leaving, node))
        await self._hands.close(node, pool=pool)

    async def _uncordon(self, pool: str, node: str) -> None:
        await self.write(pool, returning=(*self._book[pool].returning, node))
        await self._finish_return(pool, node)

    async def _finish_return(self, pool: str, node: str) -> None:
        await self._hands.open(node)
        record = self._book[pool]
        await self.write(
            pool,
            leaving=_without(record.leaving, node),
            returning=_without(record.returning, node),
        )

    async def _remove(self, pool: str, nodes: Sequence[str], status: PoolStatus) -> None:
        before = self._book[pool].removing
        now = self._clock()
        await self.write(pool, removing=before | dict.fromkeys(nodes, now))
        free = [name for name in nodes if await self._hands.is_free(name)]
        taken = set(nodes) - set(free) - before.keys()
        if taken:
            # Nobody was asked to remove them yet, and nobody else leads: so they may stay.
            await self._take_back(pool, taken)
        if not free:
            return
        self._leadership.check()
        try:
            operation = await self._cloud.remove(status, free)
        except CloudSilentError as error:
            self._wait(pool, error)
            raise
        except CloudError as error:
            self._wait(pool, error)
            await self._take_back(pool, set(free) - before.keys())
            raise
        await self._note(pool, operation)
        metrics.node_orders.labels(pool, "remove").inc()

    async def _take_back(self, pool: str, nodes: Iterable[str]) -> None:
        removing = dict(self._book[pool].removing)
        for name in nodes:
            removing.pop(name, None)
        await self.write(pool, removing=removing)

    async def _note(self, pool: str, operation: str) -> None:
        if operation:
            await self.write(pool, operation=operation)

    def _wait(self, pool: str, error: CloudError) -> None:
        match error:
            case CloudThrottledError():
                pause = timedelta(seconds=error.retry_after)
            case CloudBusyError():
                pause = BUSY_PAUSE
            case _:
                pause = self._limits.first_pause
        self.quiet_until[pool] = self._clock() + pause


def _without(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(one for one in names if one != name)


def _sentence(action: Action) -> str:
    match action:
        case SetSize(count=count):
            return f"asks for {count} {'node' if count == 1 else 'nodes'} in all"
        case Cordon(node=node):
            return f"closes {node}"
        case Uncordon(node=node):
            return f"opens {node} again"
        case Move(node=node, pods=pods):
            return f"moves {len(pods)} pods away from {node}"
        case Remove(nodes=nodes):
            return f"removes {', '.join(nodes)}"
        case Hold():
            return "holds"
        case _:
            assert_never(action)
