"""Compare what should run with what runs, and act on each difference, again and again.

Nothing that matters is kept in memory between two looks: what is wanted is read from its topic,
what runs is asked of the place where it runs. What was told already is remembered only to save
telling it twice; a restart tells it again, which every reader bears.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import structlog

from slipway_common.contracts.base import AccountId, Event, SessionId, utc_now
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER
from slipway_common.contracts.sessions import (
    EndReason,
    SessionEnded,
    SessionFailed,
    SessionProgress,
    SessionRunning,
    SessionStage,
    SessionStarting,
    SessionWanted,
)
from slipway_common.errors import PermanentError, SlipwayError
from slipway_common.failpoints import failpoint
from slipway_common.metrics import scheduler as metrics
from slipway_scheduler.models import (
    Action,
    Activate,
    Announce,
    Conclude,
    Create,
    Forget,
    Kill,
    Report,
    Step,
    Stop,
    Termination,
    Unit,
    UnitPhase,
)
from slipway_scheduler.reconcile import FAILURES, NOTHING_TOLD, Told, decide
from slipway_scheduler.units.base import NoPlaceError, Units
from slipway_scheduler.workqueue import WorkQueue

logger = structlog.get_logger(__name__)

PARALLEL = 32
SLICE = 100
SLICE_SECONDS = 0.01
"""Everything is looked at in slices, so that what users wait for comes in between."""

BACKOFF_SECONDS = (0.2, 15.0)


class EventSink(Protocol):
    async def publish(self, event: Event) -> None: ...


class Wanted(Protocol):
    """What should run, as far as it is ours to run."""

    def find(self, session_id: UUID) -> SessionWanted | None: ...

    def ids(self) -> Collection[UUID]: ...

    def owns(self, session_id: UUID) -> bool:
        """False while somebody else looks after it, and until all that is wanted was read."""
        ...


class Controller:
    def __init__(
        self, wanted: Wanted, units: Units, events: EventSink, *, stop_grace: timedelta
    ) -> None:
        self._wanted = wanted
        self._units = units
        self._events = events
        self._stop_grace = stop_grace
        self._queue: WorkQueue[UUID] = WorkQueue()
        self._told: dict[UUID, Told] = {}
        self._failures: Counter[UUID] = Counter()
        self._released: dict[UUID, UUID] = {}
        """Sessions that are over for accounts, and their accounts: to be confirmed when idle."""
        self._done: Counter[str] = Counter()

    def look_at(self, session_id: UUID) -> None:
        """Something about this session has changed."""
        self._queue.add(session_id)

    def look_at_everything(self) -> None:
        for session_id in {*self._wanted.ids(), *self._units.ids(), *self._released}:
            self._queue.add(session_id)

    def on_change(self, key: str, _: Event | None) -> None:
        try:
            self._queue.add(UUID(key))
        except ValueError:
            logger.warning("a wanted session without an id", key=key)

    def on_gained(self) -> None:
        self.look_at_everything()

    def on_tombstone(self, key: str, headers: dict[str, str]) -> None:
        try:
            session_id = UUID(key)
            self._released[session_id] = UUID(headers[ACCOUNT_HEADER])
        except (KeyError, ValueError):
            logger.warning("a tombstone that does not say whose it is", key=key)
        else:
            self._queue.add(session_id)

    async def run(self) -> None:
        """Act on whatever is to be looked at, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(self._queue.work(self._handle, until_idle=False))

    async def look_around(self) -> None:
        """Leave everything to the workers once: what changed unseen, and what time has changed."""
        await self._units.refresh()
        metrics.sessions_wanted.set(len(self._wanted.ids()))
        ready = 0
        everything = [*{*self._wanted.ids(), *self._units.ids(), *self._released}]
        for start in range(0, len(everything), SLICE):
            for session_id in everything[start : start + SLICE]:
                self._queue.add(session_id)
                unit = self._units.find(session_id)
                ready += unit is not None and unit.phase is UnitPhase.READY
            await asyncio.sleep(SLICE_SECONDS)
        metrics.sessions_running.set(ready)

    async def step(self) -> Counter[str]:
        """Look at everything once, and return what was done when all of it is."""
        self._done = Counter()
        await self.look_around()
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(self._queue.work(self._handle, until_idle=True))
        return self._done

    async def settle(self) -> None:
        """Finish what is under way for sessions that are not ours any more."""
        await self._queue.settled(lambda session_id: not self._wanted.owns(session_id))

    async def _handle(self, session_id: UUID) -> None:
        """One session that cannot be acted on holds up no other."""
        if not self._wanted.owns(session_id):
            return  # what seems unwanted now may only not have been read yet
        await self._try(session_id, self._take_next_step(session_id))

    async def _take_next_step(self, session_id: UUID) -> None:
        wanted, unit = self._wanted.find(session_id), self._units.find(session_id)
        if wanted is None and unit is None:
            await self._confirm(session_id)
            return
        action = decide(
            wanted,
            unit,
            now=utc_now(),
            told=self._told.get(session_id, NOTHING_TOLD),
            stop_grace=self._stop_grace,
        )
        if action is None:
            return
        await self._carry_out(action, wanted)
        self._done[type(action).__name__] += 1
        if isinstance(action, Conclude | Activate | Announce):
            self._queue.add(session_id)  # the next thing may be due at once

    async def _try(self, session_id: UUID, doing: Awaitable[None]) -> None:
        try:
            await doing
        except Exception as error:
            # The next look sees the same difference and tries again.
            self._failures[session_id] += 1
            first, most = BACKOFF_SECONDS
            delay = min(most, first * 2 ** min(self._failures[session_id] - 1, 10))
            logger.warning(
                "could not act",
                session_id=str(session_id),
                reason=f"{type(error).__name__}: {error}",
                attempt=self._failures[session_id],
                # What we foresaw needs no trace.
                exc_info=None if isinstance(error, SlipwayError) else error,
            )
            if not isinstance(error, NoPlaceError):  # to wait is no failure
                metrics.session_action_failures.inc()
            self._queue.add_after(session_id, delay * random.uniform(0.5, 1))  # noqa: S311
            self._done["Failed"] += 1
            return
        self._failures.pop(session_id, None)

    async def _carry_out(self, action: Action, wanted: SessionWanted | None) -> None:
        match action:
            case Create():
                assert wanted is not None
                await self._create(wanted)
            case Activate():
                assert wanted is not None
                await self._units.activate(wanted)
            case Announce(unit):
                await self._announce(unit, wanted)
            case Report(unit, step):
                await self._report(unit.session_id, unit.account_id, step)
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

    async def _create(self, wanted: SessionWanted) -> None:
        try:
            await self._units.create(wanted)
        except NoPlaceError as error:
            step = Step(SessionStage.WAITING_FOR_PLACE, str(error))
            if self._told.get(wanted.session_id, NOTHING_TOLD).step != step:
                await self._report(wanted.session_id, wanted.account_id, step)
            raise
        except PermanentError as error:
            logger.warning(
                "cannot be created", session_id=str(wanted.session_id), reason=str(error)
            )
            await self._conclude(
                wanted.session_id,
                wanted.account_id,
                Termination(EndReason.NOT_ADMITTED, f"It was refused its place: {error}"[:500]),
            )
            return
        await self._events.publish(
            SessionStarting(account_id=wanted.account_id, session_id=wanted.session_id)
        )

    async def _report(self, session_id: UUID, account_id: UUID, step: Step) -> None:
        await self._events.publish(
            SessionProgress(
                account_id=AccountId(account_id),
                session_id=SessionId(session_id),
                stage=step.stage,
                message=step.message,
                node=step.node,
                expected_at=step.expected_at,
            )
        )
        told = self._told.get(session_id, NOTHING_TOLD)
        self._told[session_id] = replace(told, step=step)

    async def _announce(self, unit: Unit, wanted: SessionWanted | None) -> None:
        assert unit.address is not None
        failpoint("scheduler.before-running")
        await self._events.publish(
            SessionRunning(
                account_id=AccountId(unit.account_id),
                session_id=SessionId(unit.session_id),
                address=unit.address,
                unit=unit.identity,
                node=unit.node,
            )
        )
        failpoint("scheduler.after-running")
        self._told[unit.session_id] = Told(unit.identity, unit.phase)
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
                cpu_seconds=termination.cpu_seconds,
            )
        )
        unit = self._units.find(session_id)
        self._told[session_id] = Told(unit.identity if unit else "", UnitPhase.GONE)
        logger.info("session over", session_id=str(session_id), reason=termination.reason)

    async def _confirm(self, session_id: UUID) -> None:
        """Nothing of it runs: say so, for accounts may be waiting for just that.

        But not when we have told of its end: then this is how accounts took it.
        """
        told = self._told.pop(session_id, NOTHING_TOLD)
        account_id = self._released.get(session_id)
        if account_id is None:
            return
        if told.phase is not UnitPhase.GONE:
            await self._conclude(session_id, account_id, Termination(EndReason.STOPPED))
            self._told.pop(session_id, None)
        self._released.pop(session_id, None)
        self._done["Confirm"] += 1
