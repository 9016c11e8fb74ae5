"""Compare what should run with what runs, and act on each difference, again and again.

Nothing that matters is kept in memory between two looks: what is wanted is read from its topic,
what runs is asked of the place where it runs. What was told already is remembered only to save
telling it twice; a restart tells it again, which every reader bears.
"""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from slipway_common import metrics
from slipway_common.contracts.base import AccountId, Event, SessionId, utc_now
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER
from slipway_common.contracts.sessions import (
    EndReason,
    SessionEnded,
    SessionFailed,
    SessionRunning,
    SessionStarting,
    SessionWanted,
)
from slipway_common.failpoints import failpoint
from slipway_scheduler.models import (
    Action,
    Announce,
    Conclude,
    Create,
    Forget,
    Kill,
    Stop,
    Termination,
    Unit,
    UnitPhase,
)
from slipway_scheduler.reconcile import FAILURES, decide
from slipway_scheduler.units.base import Units

logger = structlog.get_logger(__name__)

PARALLEL = 16


class EventSink(Protocol):
    async def publish(self, event: Event) -> None: ...


class WantedTable(Protocol):
    @property
    def rows(self) -> dict[str, Event]: ...

    @property
    def caught_up(self) -> asyncio.Event: ...


class Controller:
    def __init__(
        self, wanted: WantedTable, units: Units, events: EventSink, *, stop_grace: timedelta
    ) -> None:
        self._wanted = wanted
        self._units = units
        self._events = events
        self._stop_grace = stop_grace
        self._told: dict[UUID, tuple[str, UnitPhase]] = {}
        self._released: dict[UUID, UUID] = {}
        """Sessions that are over for accounts, and their accounts: to be confirmed when idle."""
        self._slots = asyncio.Semaphore(PARALLEL)

    def on_tombstone(self, key: str, headers: dict[str, str]) -> None:
        try:
            self._released[UUID(key)] = UUID(headers[ACCOUNT_HEADER])
        except (KeyError, ValueError):
            logger.warning("a tombstone that does not say whose it is", key=key)

    async def step(self) -> Counter[str]:
        """Look at everything once; a session that cannot be acted on holds up no other."""
        done: Counter[str] = Counter()
        if not self._wanted.caught_up.is_set():
            return done  # what seems unwanted now may only not have been read yet
        units = await self._units.list()
        wanted = self._wanted_now()
        now = utc_now()
        metrics.sessions_wanted.set(len(wanted))
        metrics.sessions_running.set(sum(unit.phase is UnitPhase.READY for unit in units.values()))
        async with asyncio.TaskGroup() as group:
            for session_id in wanted.keys() | units.keys():
                unit = units.get(session_id)
                action = decide(
                    wanted.get(session_id),
                    unit,
                    now=now,
                    announced=unit is not None
                    and self._told.get(session_id) == (unit.identity, unit.phase),
                    stop_grace=self._stop_grace,
                )
                if action is not None:
                    group.create_task(self._act(action, unit, wanted.get(session_id), done))
            for session_id in self._released.keys() - units.keys() - wanted.keys():
                group.create_task(self._confirm(session_id, done))
        return done

    def _wanted_now(self) -> dict[UUID, SessionWanted]:
        return {
            row.session_id: row
            for row in list(self._wanted.rows.values())
            if isinstance(row, SessionWanted)
        }

    async def _act(
        self,
        action: Action,
        unit: Unit | None,
        wanted: SessionWanted | None,
        done: Counter[str],
    ) -> None:
        async with self._slots:
            try:
                await self._carry_out(action, wanted)
            except Exception:
                # The next look sees the same difference and tries again.
                logger.exception("could not act", action=type(action).__name__)
                done["Failed"] += 1
                return
        if isinstance(action, Announce | Conclude) and unit is not None:
            self._told[unit.session_id] = (unit.identity, unit.phase)
        done[type(action).__name__] += 1

    async def _carry_out(self, action: Action, wanted: SessionWanted | None) -> None:
        match action:
            case Create():
                assert wanted is not None
                await self._units.create(wanted)
                await self._events.publish(
                    SessionStarting(account_id=wanted.account_id, session_id=wanted.session_id)
                )
            case Announce(unit):
                await self._announce(unit, wanted)
            case Stop(session_id, reason, message):
                await self._units.stop(session_id, reason=reason, message=message)
            case Kill(session_id):
                await self._units.kill(session_id)
            case Conclude(session_id, account_id, termination):
                await self._conclude(session_id, account_id, termination)
            case Forget(session_id):
                await self._units.forget(session_id)
                self._told.pop(session_id, None)
                self._released.pop(session_id, None)

    async def _announce(self, unit: Unit, wanted: SessionWanted | None) -> None:
        assert unit.address is not None
        failpoint("scheduler.before-running")
        await self._events.publish(
            SessionRunning(
                account_id=AccountId(unit.account_id),
                session_id=SessionId(unit.session_id),
                address=unit.address,
                unit=unit.identity,
            )
        )
        failpoint("scheduler.after-running")
        if wanted is not None:
            metrics.session_start_seconds.observe((utc_now() - wanted.admitted_at).total_seconds())

    async def _conclude(self, session_id: UUID, account_id: UUID, termination: Termination) -> None:
        failpoint("scheduler.before-over")
        kind = SessionFailed if termination.reason in FAILURES else SessionEnded
        await self._events.publish(
            kind(
                account_id=AccountId(account_id),
                session_id=SessionId(session_id),
                reason=termination.reason,
                message=termination.message,
                peak_memory_mib=termination.peak_memory_mib,
            )
        )
        logger.info("session over", session_id=str(session_id), reason=termination.reason)

    async def _confirm(self, session_id: UUID, done: Counter[str]) -> None:
        """Nothing of it runs: say so, for accounts may be waiting for just that."""
        account_id = self._released[session_id]
        try:
            await self._conclude(session_id, account_id, Termination(EndReason.STOPPED))
        except Exception:
            logger.exception("could not confirm", session_id=str(session_id))
            done["Failed"] += 1
            return
        self._released.pop(session_id, None)
        done["Confirm"] += 1
