"""What the scheduler sees and does, as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from slipway_common.contracts.sessions import EndReason, SessionStage


class UnitPhase(StrEnum):
    """Life of a unit: what runs one session, be it a process or a pod."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    GONE = "gone"
    """Nothing of it runs; only its record is left, and says why."""


@dataclass(frozen=True, slots=True)
class Termination:
    """What a runner leaves behind when it ends."""

    reason: EndReason
    message: str = ""
    peak_memory_mib: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Where a unit stands on its way to its first answer."""

    stage: SessionStage
    message: str
    node: str | None = None
    expected_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    session_id: UUID
    account_id: UUID
    phase: UnitPhase
    identity: str
    """Never used again by another unit: tells this one from one before it."""
    address: str | None = None
    node: str | None = None
    placed_at: datetime | None = None
    """When a machine was found for it; None while there is none, or where nobody has to look."""

    begun_at: datetime | None = None
    """When it became the session's, if it ran before that."""

    stopping_since: datetime | None = None
    termination: Termination | None = None
    """None of a unit that is gone: it ended without a word."""

    fault: Termination | None = None
    """Of a unit that is not gone: why it will never be of use, however long one waits."""

    step: Step | None = None
    dormant: bool = False
    """It is the session's, and has not been told so yet."""


@dataclass(frozen=True, slots=True)
class Create:
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Activate:
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Stop:
    session_id: UUID
    reason: EndReason
    message: str = ""


@dataclass(frozen=True, slots=True)
class Kill:
    session_id: UUID


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the mesh that the session answers."""

    unit: Unit


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the mesh how far a starting session has come."""

    unit: Unit
    step: Step


@dataclass(frozen=True, slots=True)
class Conclude:
    """Tell the mesh that the session is over, and why."""

    session_id: UUID
    account_id: UUID
    termination: Termination


@dataclass(frozen=True, slots=True)
class Forget:
    """Remove what is left of a unit that nobody asks about any more."""

    session_id: UUID


Action: TypeAlias = Create | Activate | Stop | Kill | Announce | Report | Conclude | Forget
