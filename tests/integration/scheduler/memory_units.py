"""Units that exist in memory only, and behave as the names of their apps say."""

from collections.abc import Collection
from dataclasses import replace
from itertools import count
from uuid import UUID

from typing_extensions import override

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.sessions import EndReason, SessionWanted
from slipway_scheduler.models import Termination, Unit, UnitPhase
from slipway_scheduler.units.base import Units

OBEYS, STUBBORN, FAILS, VANISHES, SILENT = "obeys", "stubborn", "fails", "vanishes", "silent"
"""Ends when asked; ends when killed; ends with a reason; ends without a word; never answers."""


class MemoryUnits(Units):
    def __init__(self) -> None:
        self.units: dict[UUID, Unit] = {}
        self.created: list[UUID] = []
        self._apps: dict[UUID, str] = {}
        self._identities = count(1)

    @override
    async def refresh(self) -> None:
        """What is in memory is always fresh."""

    @override
    def find(self, session_id: UUID) -> Unit | None:
        return self.units.get(session_id)

    @override
    def ids(self) -> Collection[UUID]:
        return list(self.units)

    @override
    async def activate(self, wanted: SessionWanted) -> None:
        self.units[wanted.session_id] = replace(self.units[wanted.session_id], dormant=False)

    @override
    async def create(self, wanted: SessionWanted) -> None:
        if wanted.session_id in self.units:
            return
        self.created.append(wanted.session_id)
        self._apps[wanted.session_id] = wanted.app_name
        unit = Unit(
            session_id=wanted.session_id,
            account_id=wanted.account_id,
            phase=UnitPhase.STARTING,
            identity=str(next(self._identities)),
        )
        match wanted.app_name:
            case "fails":
                unit = replace(
                    unit,
                    phase=UnitPhase.GONE,
                    termination=Termination(EndReason.APP_FAILED, "It failed."),
                )
            case "vanishes":
                unit = replace(unit, phase=UnitPhase.GONE)
            case "silent":
                pass
            case _:
                unit = replace(unit, phase=UnitPhase.READY, address="127.0.0.1:1")
        self.units[wanted.session_id] = unit

    @override
    async def stop(self, session_id: UUID, *, reason: EndReason, message: str) -> None:
        unit = self.units.get(session_id)
        if unit is None or unit.stopping_since is not None or unit.phase is UnitPhase.GONE:
            return
        unit = replace(
            unit,
            phase=UnitPhase.STOPPING,
            stopping_since=utc_now(),
            termination=Termination(reason, message),
        )
        if self._apps[session_id] != STUBBORN:
            unit = replace(unit, phase=UnitPhase.GONE)
        self.units[session_id] = unit

    @override
    async def kill(self, session_id: UUID) -> None:
        unit = self.units.get(session_id)
        if unit is not None:
            self.units[session_id] = replace(unit, phase=UnitPhase.GONE)

    @override
    async def forget(self, session_id: UUID) -> None:
        self.units.pop(session_id, None)
