"""The node loop: look, decide, act, every second and at every change, under one leader.

What it must not forget is in the pools' records; what it remembers besides (since when a node is
idle) may be lost with it, and then only takes longer.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Protocol

import structlog

from slipway_common.contracts.base import utc_now
from slipway_common.metrics import nodes as metrics
from slipway_common.metrics import shared
from slipway_scheduler.kubernetes.api import KubernetesApi
from slipway_scheduler.kubernetes.errors import ApiError, ConflictError
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.kubernetes.reflector import STALE_SECONDS
from slipway_scheduler.leadership import Leadership, LeadershipLostError
from slipway_scheduler.nodes.base import CloudError, NodePools
from slipway_scheduler.nodes.decide import decide
from slipway_scheduler.nodes.hands import Hands
from slipway_scheduler.nodes.models import (
    Action,
    Decision,
    Hold,
    NodePhase,
    NodeSeen,
    PoolSeen,
    PoolStatus,
    View,
)
from slipway_scheduler.nodes.orders import Orders
from slipway_scheduler.nodes.outlook import Outlook
from slipway_scheduler.nodes.placeholders import PlaceholderKeeper, PlaceholderStyle
from slipway_scheduler.nodes.records import Record, Records
from slipway_scheduler.nodes.sight import Sight
from slipway_scheduler.nodes.specs import NodeLimits, PoolSpec
from slipway_scheduler.nodes.survey import Survey

logger = structlog.get_logger(__name__)

SHORTEST_PAUSE = 0.1
"""Between two looks, however much changes."""

REST = 5
"""So many times as long as a look took, nothing is looked at: a busy hour costs no more."""

NOTHING_YET = Decision(actions=(), unneeded={}, seeming={}, lacking={}, waiting={})


class PodMirror(Protocol):
    """As ``Reflector[Pod]`` is one."""

    objects: dict[str, Pod]
    synced: asyncio.Event

    @property
    def age_seconds(self) -> float: ...


class NodeMirror(Protocol):
    objects: dict[str, Node]
    synced: asyncio.Event

    @property
    def age_seconds(self) -> float: ...


class NodeLoop:
    """``pods`` mirrors what is ours in the session namespace, ``nodes`` all nodes."""

    def __init__(
        self,
        api: KubernetesApi,
        cloud: NodePools,
        *,
        specs: Sequence[PoolSpec],
        pods: PodMirror,
        nodes: NodeMirror,
        own_namespace: str,
        placeholders: PlaceholderStyle,
        limits: NodeLimits | None = None,
        clock: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Records are kept in ``own_namespace``; that of sessions is in ``placeholders``."""
        self._api = api
        self._cloud = cloud
        self._specs = {spec.name: spec for spec in specs}
        self._pods = pods
        self._nodes = nodes
        self._records = Records(api, namespace=own_namespace)
        self._style = placeholders
        self._limits = limits or NodeLimits()
        self._clock = clock
        self._jitter = jitter
        self._sight = Sight(specs, self._limits)
        self._wake = asyncio.Event()
        self._last = NOTHING_YET
        self._homeless = ""
        self._book: dict[str, Record] = {}
        self.outlook = Outlook(self._records, specs)
        metrics.node_pools.set(len(specs))

    def wake(self) -> None:
        """Something has changed that may matter."""
        self._wake.set()

    def estimate(self, pool: str | None, now: datetime) -> datetime | None:
        """When a node of the pool will be there; see ``Outlook.estimate``."""
        return self.outlook.estimate(pool, now)

    async def run(self, leadership: Leadership) -> None:
        """Lead until cancelled, or until the leadership is lost, which is an error."""
        self._last = NOTHING_YET
        self._book = {}
        await self._claim(leadership)
        book = self._book
        orders = Orders(
            self._cloud,
            self._records,
            Hands(self._api, leadership, sessions_namespace=self._style.namespace),
            leadership=leadership,
            book=book,
            limits=self._limits,
            clock=self._clock,
            jitter=self._jitter,
        )
        survey = Survey(self._cloud, orders, book=book, limits=self._limits, jitter=self._jitter)
        keeper = PlaceholderKeeper(self._api, orders, self._style, specs=self._specs.values())
        metrics.node_leader.set(1)
        self.outlook.share(book)
        try:
            while True:
                self._wake.clear()
                leadership.check()
                start = time.monotonic()
                await self._step(orders, survey, keeper, leadership)
                longest = self._limits.look_every.total_seconds()
                rest = min(REST * (time.monotonic() - start), longest)
                await asyncio.sleep(max(SHORTEST_PAUSE, rest))
                with suppress(TimeoutError):
                    async with asyncio.timeout(longest):
                        await self._wake.wait()
        finally:
            self.outlook.share(None)
            metrics.node_leader.set(0)

    async def _claim(self, leadership: Leadership) -> None:
        for pool in self._specs:
            self._book[pool] = await self._records.claim(pool, leadership)

    async def _step(
        self, orders: Orders, survey: Survey, keeper: PlaceholderKeeper, leadership: Leadership
    ) -> None:
        """One look; one that fails costs a round, unless somebody else leads by now."""
        try:
            with metrics.node_look_seconds.time():
                await self._look(orders, survey, keeper)
        except LeadershipLostError:
            raise
        except ConflictError as error:
            # A record was changed by hand, or a write of ours was done and its answer lost.
            logger.info("reads the records of node pools anew", reason=str(error))
            await self._claim(leadership)
        except ApiError as error:
            logger.warning("could not look after nodes", reason=f"{type(error).__name__}: {error}")
        except Exception:
            shared.periodic_failures.labels("nodes").inc()
            logger.exception("could not look after nodes")

    async def _look(self, orders: Orders, survey: Survey, keeper: PlaceholderKeeper) -> None:
        if not (self._pods.synced.is_set() and self._nodes.synced.is_set()):
            return
        now = self._clock()
        await orders.finish_returns()
        statuses = await survey.statuses(now)
        pods = list(self._pods.objects.values())
        mirrored = list(self._nodes.objects.values())
        nodes, waiting = self._sight.look(pods, mirrored, self._book, now=now)
        for pool in self._specs:
            await survey.keep(
                pool,
                statuses.get(pool),
                nodes[pool],
                lacking=self._last.lacking.get(pool, 0),
                now=now,
            )
        age = max(self._pods.age_seconds, self._nodes.age_seconds)
        seen = (self._pool(name, statuses.get(name), nodes[name]) for name in self._specs)
        view = View(
            now=now,
            pools=tuple(seen),
            waiting=waiting,
            unneeded=self._last.unneeded,
            seeming=self._last.seeming,
            fresh=age < STALE_SECONDS,
        )
        self._last = decision = decide(view, limits=self._limits)
        for action in decision.actions:
            await self._carry_out(orders, action, statuses)
        await self._tell(orders, decision, nodes)
        await keeper.keep(pods, now=now)

    def _pool(self, pool: str, status: PoolStatus | None, nodes: tuple[NodeSeen, ...]) -> PoolSeen:
        record = self._book[pool]
        return PoolSeen(
            spec=self._specs[pool],
            status=status,
            nodes=nodes,
            asked=record.asked,
            retry_at=record.retry_at,
            problem=record.problem,
        )

    async def _carry_out(
        self, orders: Orders, action: Action, statuses: Mapping[str, PoolStatus]
    ) -> None:
        """One order that the cloud does not take holds up none of another pool."""
        try:
            await orders.carry_out(action, statuses.get(action.pool))
        except CloudError as error:
            logger.warning("the cloud took no order", pool=action.pool, reason=str(error))

    async def _tell(
        self, orders: Orders, decision: Decision, nodes: Mapping[str, Sequence[NodeSeen]]
    ) -> None:
        """Write down and log why nothing is done, whenever that has changed."""
        why: defaultdict[str, list[str]] = defaultdict(list)
        for action in decision.actions:
            if isinstance(action, Hold):
                why[action.pool].append(action.why)
        homeless = "; ".join(why[""])
        if homeless != self._homeless:
            self._homeless = homeless
            logger.info("nodes cannot help", why=homeless)
        for pool, seen in nodes.items():
            record = self._book[pool]
            says = "; ".join(why[pool])
            full = pool in decision.full
            if (says, full) != (record.says, record.full):
                await orders.write(pool, says=says, full=full)
                logger.info("nodes hold", pool=pool, why=says)
            metrics.node_pods_waiting.labels(pool).set(decision.waiting[pool])
            for phase in NodePhase:
                count = sum(node.phase is phase for node in seen)
                metrics.nodes.labels(pool, phase).set(count)
