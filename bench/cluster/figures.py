"""Many measured times as a few figures. Times are in seconds; figures are shown in their unit."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WINDOW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Each percentile is a value that occurred; of fewer than 100, p99 is the largest."""

    n: int
    p50: float
    p90: float
    p95: float
    p99: float
    most: float


def spread(seconds: Iterable[float]) -> Spread:
    ordered = sorted(seconds)
    if not ordered:
        return Spread(0, *[math.nan] * 5)
    shares = (0.5, 0.9, 0.95, 0.99, 1.0)
    return Spread(len(ordered), *(percentile(ordered, share) for share in shares))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


def windows(
    points: Iterable[tuple[float, float]], *, width: float = WINDOW_SECONDS
) -> list[Spread]:
    """``points`` are moments, counted from the start of the load, and what was measured then."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for moment, seconds in points:
        found[int(moment // width)].append(seconds)
    return [spread(found[number]) for number in sorted(found)]


def milliseconds(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{seconds * 1000:,.0f}"


def shown(times: Spread) -> str:
    """As milliseconds, the way that the tables have it."""
    figures = " / ".join(milliseconds(value) for value in (times.p50, times.p95, times.p99))
    return f"p50/p95/p99 {figures} ms"


def drift(found: Sequence[Spread]) -> str:
    """The p99 of one window after the other."""
    return " ".join(milliseconds(window.p99) for window in found)
