"""When a node will be there, told from how long nodes of its pool took before."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from slipway_scheduler.nodes.models import Asked

REMEMBERED = 50
"""Boots per pool: enough for a quantile, few enough to follow what the cloud is like today."""

HIGH = 0.9


def estimate(
    *,
    boots: Sequence[float],
    asked: Sequence[Asked],
    retry_at: datetime | None,
    full: bool,
    now: datetime,
) -> datetime | None:
    """None when nobody can say: no boot was ever seen, it takes unusually long, or it is ``full``.

    ``boots`` are seconds from asking to ready. ``full``: no node can be added.
    """
    if not boots:
        return None
    usual, late = quantile(boots, 0.5), quantile(boots, HIGH)
    coming = [one.at for one in asked if now < one.at + late]
    if coming:
        first = min(coming)
        return first + usual if now < first + usual else first + late
    if asked or full:
        return None
    return max(now, retry_at or now) + usual


def quantile(seconds: Sequence[float], share: float) -> timedelta:
    """The smallest of them that at least this share of them does not exceed."""
    ordered = sorted(seconds)
    index = max(0, -(-len(ordered) * share // 1) - 1)
    return timedelta(seconds=ordered[int(index)])
