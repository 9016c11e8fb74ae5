"""The lines of a run, as they stand in its NDJSON stream and reach the page."""

import math
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from slipway_open.problems import Problem


class Activity(StrEnum):
    RUNNING = "running"
    SOLVING = "solving"


class Outcome(StrEnum):
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    def to_json(self) -> str:
        return self.model_dump_json(exclude_none=True)


class ProgressLine(Line):
    type: Literal["progress"] = "progress"
    state: Activity
    fraction: float | None = None
    """Between 0 and 1, as the procedure itself reported it."""

    message: str | None = None
    objective: float | None = None
    """Value of the best solution; absent until there is one."""

    bound: float | None = None
    gap: float | None = None
    """Relative: 0.01 is one per cent."""

    elapsed: float | None = None
    """Seconds since the procedure began."""


class LogLine(Line):
    type: Literal["log"] = "log"
    text: str


class ResultLine(Line):
    type: Literal["result"] = "result"
    outcome: Outcome
    value: dict[str, Any]


class FailureLine(Line):
    type: Literal["failure"] = "failure"
    problem: Problem


RunLine = ProgressLine | LogLine | ResultLine | FailureLine


def finite(value: float | None) -> float | None:
    """Give None for what JSON cannot say and a reader cannot use."""
    return value if value is not None and math.isfinite(value) else None
