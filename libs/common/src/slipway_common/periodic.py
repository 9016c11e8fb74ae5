"""Run a step again and again: woken early, jittered, stopped between steps and never inside one."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog

from slipway_common.metrics import shared as metrics

logger = structlog.get_logger(__name__)


class Periodic:
    """A step that fails costs one round: it is logged and counted, and the next round comes.

    The pause is counted from the end of a step, so a slow step never piles up behind itself.
    """

    def __init__(
        self, name: str, step: Callable[[], Awaitable[object]], *, every: timedelta
    ) -> None:
        self._name = name
        self._step = step
        self._every = every.total_seconds()
        self._wake = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Run the next step at once."""
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._step()
            except Exception:
                metrics.periodic_failures.labels(self._name).inc()
                logger.exception("periodic step failed", step=self._name)
            pause = self._every * random.uniform(0.9, 1.1)  # noqa: S311  # spreads replicas
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause)
