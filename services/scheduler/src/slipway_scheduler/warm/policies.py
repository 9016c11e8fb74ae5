"""Which pools there should be: the operator's policies, met with published runtimes."""

from collections.abc import Iterable
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from slipway_common.contracts.sessions import Resources
from slipway_scheduler.warm.members import PoolKey
from slipway_scheduler.warm.sizing import Sizes, Window, newest_first

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class WindowPolicy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    days: tuple[Day, ...] = _DAYS
    start: time
    end: time
    zone: str = "UTC"
    least: Annotated[int, Field(ge=0)]

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, OSError) as error:  # a name that is unknown, or that of a folder
            raise ValueError(f"there is no time zone {zone!r}") from error
        return zone

    @field_validator("start", "end")
    @classmethod
    def _of_the_zone(cls, clock: time) -> time:
        if clock.tzinfo is not None:
            raise ValueError("times of the day are those of the zone, and have none of their own")
        return clock

    def window(self) -> Window:
        days = frozenset(_DAYS.index(day) for day in self.days)
        return Window(days, self.start, self.end, ZoneInfo(self.zone), self.least)


class WarmPolicy(BaseModel):
    """Pods that wait for an account's sessions; the first policy that fits a pool counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    account: UUID | Literal["*"] = "*"
    release: str = "*"
    """MAJOR.MINOR of the runtime."""

    profile: Resources = Resources()
    least: Annotated[int, Field(ge=0)] = 0
    most: Annotated[int, Field(ge=0)] = 10
    windows: tuple[WindowPolicy, ...] = ()
    max_age_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 24

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        least = max((self.least, *(each.least for each in self.windows)))
        if least > self.most:
            raise ValueError(f"at least {least} cannot wait where {self.most} may at most")
        return self

    def sizes(self) -> Sizes:
        windows = tuple(each.window() for each in self.windows)
        return Sizes(self.least, self.most, windows)

    def fits(self, account_id: UUID, release: str) -> bool:
        return self.account in {"*", account_id} and self.release in {"*", release}

    @property
    def max_age(self) -> timedelta:
        return timedelta(hours=self.max_age_hours)


_POLICIES: TypeAdapter[tuple[WarmPolicy, ...]] = TypeAdapter(tuple[WarmPolicy, ...])


def read_policies(path: Path | None) -> tuple[WarmPolicy, ...]:
    """A JSON list; without a file there are no pools."""
    return () if path is None else _POLICIES.validate_json(path.read_bytes())


def wanted_pools(
    policies: Iterable[WarmPolicy], runtimes: Iterable[tuple[UUID, str]]
) -> dict[PoolKey, WarmPolicy]:
    """One pool for the newest runtime of each release, account and profile that a policy fits."""
    newest: dict[tuple[UUID, str], str] = {}
    published: dict[UUID, list[str]] = {}
    for account_id, runtime in runtimes:
        published.setdefault(account_id, []).append(runtime)
    for account_id, names in published.items():
        for runtime in newest_first(names):
            newest.setdefault((account_id, release_of(runtime)), runtime)
    chosen: dict[tuple[UUID, str, str], WarmPolicy] = {}
    for policy in policies:
        for (account_id, release), runtime in newest.items():
            if policy.fits(account_id, release):
                chosen.setdefault((account_id, runtime, policy.profile.profile), policy)
    return {
        PoolKey(account_id, runtime, policy.profile): policy
        for (account_id, runtime, _), policy in chosen.items()
    }


def release_of(runtime: str) -> str:
    return ".".join(runtime.split(".")[:2])
