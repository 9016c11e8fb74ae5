"""One time budget, handed down through every call that an operation makes."""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from slipway_common.errors import TransientError


class DeadlineExceededError(TransientError):
    """The operation's time is used up."""


@dataclass(frozen=True, slots=True)
class Deadline:
    operation: str
    ends_at: float
    """On the monotonic clock: a changed wall clock neither shortens nor lengthens it."""

    @classmethod
    def after(cls, budget: timedelta, *, operation: str) -> Self:
        return cls(operation=operation, ends_at=time.monotonic() + budget.total_seconds())

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.ends_at

    def left(self) -> float:
        """Seconds that are left, for the time limit of the next call."""
        seconds = self.ends_at - time.monotonic()
        if seconds <= 0:
            raise DeadlineExceededError(f"{self.operation} took too long")
        return seconds
