"""What a session uses, in figures that can be read without its charts."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from starlette.requests import Request

from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.problems import ProblemError
from slipway_gateway.portal import own_api

logger = structlog.get_logger(__name__)

PATIENCE_SECONDS = 2.0
"""A session that is too busy to say what it uses does not keep its page waiting."""


_LABELS = {
    "memory": "Memory",
    "cpu": "Processor",
    "cpu-time": "Processor time",
    "processes": "Processes",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table; empty where there is nothing to say."""

    id: str
    label: str
    now: str = ""
    limit: str = ""
    most: str = ""


def path_of(session_id: UUID) -> str:
    return f"/api/v1/sessions/{session_id}/use"


async def read(request: Request, session_id: UUID) -> SessionUse | None:
    """None if it cannot be had now; the page then says so, and shows all the rest."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return SessionUse.model_validate_json(await own_api.get(request, path_of(session_id)))
    except (ProblemError, TimeoutError) as error:
        logger.info("use not to be had", session_id=str(session_id), reason=repr(error))
        return None


def figures(use: SessionUse | None, *, since: datetime | None, now: datetime) -> tuple[Figure, ...]:
    """Rows of the table. Without a second look, the processor's share is its average so far."""
    if use is None:
        return tuple(Figure(name, label) for name, label in _LABELS.items())
    lived = 0.0 if since is None else (now - since).total_seconds()
    limit = use.memory_limit_mib
    return (
        Figure(
            "memory",
            _LABELS["memory"],
            now=mebibytes(use.memory_mib),
            limit="" if limit is None else mebibytes(limit),
            most=mebibytes(use.peak_memory_mib),
        ),
        Figure(
            "cpu",
            _LABELS["cpu"],
            now=f"{cores(use.cpu_seconds / lived * 1000)} on average" if lived > 1 else "",
            limit="" if use.cpu_limit_millis is None else cores(use.cpu_limit_millis),
        ),
        Figure("cpu-time", _LABELS["cpu-time"], now=f"{use.cpu_seconds:,.1f} s"),
        Figure("processes", _LABELS["processes"], now=str(use.processes)),
    )


def mebibytes(size: int) -> str:
    return f"{size / 1024:.1f} GiB" if size >= 10 * 1024 else f"{size:,} MiB"


def cores(millis: float) -> str:
    """``1500`` → ``1.5 cores``."""
    figure = f"{millis / 1000:.2f}".rstrip("0").rstrip(".")
    return f"{figure} {'core' if figure == '1' else 'cores'}"
