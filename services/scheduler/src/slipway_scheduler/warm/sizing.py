"""How many pods should wait in a pool: pure, from a policy, the clock and what was asked lately."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DEMAND_WINDOW = timedelta(minutes=5)
MARGIN = 1.5
"""Arrivals come in bunches: half as many again as come on average."""


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the day at which at least so many wait, such as before work begins."""

    days: frozenset[int]
    """0 is Monday."""

    start: time
    end: time
    """Not later than ``start``: it ends on the next day."""

    zone: ZoneInfo
    least: int

    def covers(self, now: datetime) -> bool:
        local = now.astimezone(self.zone)
        clock = local.time()
        if self.start < self.end:
            return local.weekday() in self.days and self.start <= clock < self.end
        yesterday = (local - timedelta(days=1)).weekday()
        return (local.weekday() in self.days and clock >= self.start) or (
            yesterday in self.days and clock < self.end
        )


@dataclass(frozen=True, slots=True)
class Sizes:
    least: int = 0
    most: int = 0
    windows: tuple[Window, ...] = ()


class Demand:
    """Sessions that a pool was asked for, of the last minutes."""

    def __init__(self) -> None:
        self._arrivals: deque[datetime] = deque()

    def note(self, at: datetime) -> None:
        self._arrivals.append(at)

    def per_second(self, now: datetime) -> float:
        while self._arrivals and now - self._arrivals[0] > DEMAND_WINDOW:
            self._arrivals.popleft()
        # A rate over less than half a minute would be a guess from a handful.
        span = timedelta(seconds=30)
        if self._arrivals:
            span = max(span, now - self._arrivals[0])
        return len(self._arrivals) / span.total_seconds()


def target(sizes: Sizes, *, now: datetime, per_second: float, refill: timedelta) -> int:
    """As many as will be asked for while one is being made, within the policy's bounds."""
    by_clock = max((each.least for each in sizes.windows if each.covers(now)), default=0)
    by_demand = math.ceil(per_second * refill.total_seconds() * MARGIN)
    return min(sizes.most, max(sizes.least, by_clock, by_demand))


@dataclass(frozen=True, slots=True)
class Brake:
    """What keeps a template that does not work from being tried for ever."""

    failures: tuple[datetime, ...] = ()
    """Of members, since one of this pool got ready."""

    ALLOWED = 3
    FIRST = timedelta(seconds=10)
    LONGEST = timedelta(minutes=10)

    def failed(self, at: datetime) -> "Brake":
        return Brake((*self.failures[-20:], at))

    @property
    def is_on(self) -> bool:
        """It failed so often that from now on one is tried at a time."""
        return len(self.failures) >= self.ALLOWED

    def holds_until(self) -> datetime | None:
        """None: nothing keeps it from being tried."""
        if not self.is_on:
            return None
        beyond = len(self.failures) - self.ALLOWED
        return self.failures[-1] + min(self.LONGEST, self.FIRST * 2.0**beyond)

    def allowed(self, *, now: datetime, on_trial: int) -> int | None:
        """How many may be made, with so many that are not ready yet; None: any number."""
        held = self.holds_until()
        if held is None:
            return None
        return 0 if now < held else max(0, 1 - on_trial)


def newest_first(runtimes: Iterable[str]) -> list[str]:
    """Runtime ids such as ``1.0.10.2-linux64-x64``, by number and not by letter."""

    def version(runtime: str) -> tuple[tuple[int, ...], str]:
        parts = runtime.partition("-")[0].split(".")
        return tuple(int(part) for part in parts if part.isdecimal()), runtime

    return sorted(runtimes, key=version, reverse=True)
