"""How an operator describes node pools, and how fast the loop is."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, model_validator

from slipway_common.settings import PositiveDuration, SettingsGroup
from slipway_scheduler.kubernetes.labels import prefixed
from slipway_scheduler.nodes.room import Room
from slipway_scheduler.warm.policies import WindowPolicy

POOL_LABEL = prefixed("pool")
"""Of a node: the pool that it belongs to; a session's pod may name it in its node selector."""

Count = Annotated[int, Field(ge=0)]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PlaceholderSpec(_Spec):
    """Room that is kept free by pods which give way to sessions at once."""

    cpu: Annotated[float, Field(gt=0)]
    """Of one; as much as a session takes."""

    memory_mib: Annotated[int, Field(gt=0)]
    count: Count = 0
    """At any time."""

    windows: tuple[WindowPolicy, ...] = ()
    """Of those that hold now, and the count above, the largest counts."""

    @property
    def room(self) -> Room:
        return Room.of(cpu=self.cpu, memory_mib=self.memory_mib)

    def wanted(self, now: datetime) -> int:
        holding = (each.least for each in self.windows if each.window().covers(now))
        return max(self.count, *holding, 0)


class PoolSpec(_Spec):
    """One pool of equal nodes."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$")]
    """As the cloud calls it; its nodes carry it as the label ``slipway.dev/pool``."""

    cpu: Annotated[float, Field(gt=0)]
    """Of an empty node, for sessions: what it has, less what the system and daemons take."""

    memory_mib: Annotated[int, Field(gt=0)]
    pods: Annotated[int, Field(gt=0)] = 100
    minimum: Count = 0
    maximum: Count
    spare: Count = 0
    """Nodes without a session that are kept besides those that are needed."""

    labels: Mapping[str, str] = Field(default_factory=dict)
    """Of its nodes, besides the pool's own one, as far as sessions select nodes by them."""

    dedicated: bool = False
    """Its nodes are tainted with ``slipway.dev/pool=NAME:NoSchedule``, so that only sessions which
    are meant for this pool go there."""

    placeholders: PlaceholderSpec | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"pool {self.name}: minimum is above maximum")
        return self

    @cached_property
    def room(self) -> Room:
        return Room.of(cpu=self.cpu, memory_mib=self.memory_mib, pods=self.pods)

    def suits(self, selector: frozenset[tuple[str, str]]) -> bool:
        if self.dedicated and (POOL_LABEL, self.name) not in selector:
            return False
        have = {**self.labels, POOL_LABEL: self.name}
        return all(have.get(name) == value for name, value in selector)


class NodeLimits(SettingsGroup):
    """How fast the loop is, for all pools."""

    look_every: PositiveDuration = timedelta(seconds=1)
    """A change of the cluster is looked at at once."""

    batch_idle: PositiveDuration = timedelta(seconds=1)
    """Sessions that come in a row are provided for together, once so long no further one came."""

    batch_longest: PositiveDuration = timedelta(seconds=10)
    """They are provided for after so long, even if more keep coming."""

    boot_longest: PositiveDuration = timedelta(minutes=15)
    """A node that is not there by then has failed."""

    idle_for: PositiveDuration = timedelta(minutes=10)
    """A node that was not needed for so long is removed."""

    settle: PositiveDuration = timedelta(seconds=10)
    """From the cordon to the removal: what was already being placed there must show up."""

    ask_again: PositiveDuration = timedelta(minutes=2)
    """A removal that the cloud did not carry out is asked for again."""

    disbelief: PositiveDuration = timedelta(seconds=30)
    """A pod that waits for longer, although a node seems to have room, is right."""

    first_pause: PositiveDuration = timedelta(seconds=30)
    """After a failure of the cloud; each further one in a row doubles it."""

    longest_pause: PositiveDuration = timedelta(minutes=15)
    removed_at_once: Annotated[int, Field(gt=0)] = 10
    """Nodes of one pool."""


_POOLS: TypeAdapter[tuple[PoolSpec, ...]] = TypeAdapter(tuple[PoolSpec, ...])


def read_pools(path: Path | None) -> tuple[PoolSpec, ...]:
    """A JSON list; without a file there are no pools. Where several suit, the first is used."""
    pools = () if path is None else _POOLS.validate_json(path.read_bytes())
    names = [pool.name for pool in pools]
    if len(set(names)) < len(names):
        raise ValueError("two node pools have the same name")
    return pools
