"""A place where sessions run, as the rest of the scheduler sees it; and the simplest one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from slipway_common.errors import PermanentError
from slipway_common.health import Check
from slipway_scheduler.settings import Settings
from slipway_scheduler.tokens import TokenSigner
from slipway_scheduler.units.base import Units
from slipway_scheduler.units.processes import ProcessUnits


class Loop(Protocol):
    async def run(self) -> None: ...


async def _at_once() -> None:
    """There is nothing to wait for."""


@dataclass(frozen=True, slots=True)
class Place:
    units: Units
    stop_grace: timedelta
    look_every: timedelta
    loops: tuple[Loop, ...] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    ready: Callable[[], Awaitable[None]] = _at_once
    leading: tuple[Loop, ...] = ()
    """Begun once the place is ready."""


async def processes(
    settings: Settings, signer: TokenSigner, *, environment: Mapping[str, str]
) -> Place:
    if settings.work_folder is None:
        raise PermanentError("SLIPWAY_SCHEDULER_WORK_FOLDER says where processes work; it is unset")
    return Place(
        units=ProcessUnits(
            settings.work_folder,
            gateway_url=settings.gateway_url,
            token_for=signer.token_for,
            environment=environment,
            lifeline=settings.lifeline,
            task_grace=settings.task_grace,
        ),
        stop_grace=settings.stop_grace,
        look_every=settings.reconcile_interval,
    )
