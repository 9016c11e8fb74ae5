"""The lines of a run, as they stand in its NDJSON stream and reach the page."""

import math
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from slipway_open.problems import Problem
from slipway_open.text import Message


class Activity(StrEnum):
    RUNNING = "running"
    SOLVING = "solving"


class Outcome(StrEnum):
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"


def finite(value: float | None) -> float | None:
    """Give None for what JSON cannot say and a reader cannot use."""
    return value if value is not None and math.isfinite(value) else None


Number = Annotated[float | None, AfterValidator(finite)]


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    def to_json(self) -> str:
        return self.model_dump_json(exclude_none=True)


class ProgressLine(Line):
    type: Literal["progress"] = "progress"
    state: Activity
    fraction: Number = None
    """Between 0 and 1, as the procedure itself reported it."""

    message: Message | None = None
    objective: Number = None
    """Value of the best solution; absent until there is one."""

    bound: Number = None
    gap: Number = None
    """Relative: 0.01 is one per cent."""

    elapsed: Number = None
    """Seconds since the procedure began."""


class LogLine(Line):
    type: Literal["log"] = "log"
    text: Message


class ResultLine(Line):
    type: Literal["result"] = "result"
    outcome: Outcome
    value: dict[str, Any]


class FailureLine(Line):
    type: Literal["failure"] = "failure"
    problem: Problem


RunLine = ProgressLine | LogLine | ResultLine | FailureLine
