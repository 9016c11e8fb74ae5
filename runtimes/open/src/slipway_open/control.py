"""What others ask of a running procedure; read by its thread, set by any other."""

import threading
from enum import StrEnum

from slipway_open.problems import RunEnded


class Scope(StrEnum):
    SOLVE = "solve"
    EXECUTION = "execution"


class RunControl:
    """Holds the two kinds of interrupt.

    An interrupt of the solve is meant for one solve: the one going on, else the next one. It
    is used up when that solve, or a loop that asks ``take_solve_interrupt``, stops for it; only
    then was the procedure cut short. An interrupt of the execution stays.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._solve = False
        self._execution = False
        self._cut_short = False

    def interrupt(self, scope: Scope) -> None:
        with self._lock:
            match scope:
                case Scope.SOLVE:
                    self._solve = True
                case Scope.EXECUTION:
                    self._execution = True

    @property
    def solver_must_stop(self) -> bool:
        return self._solve or self._execution

    @property
    def ended(self) -> bool:
        return self._execution

    @property
    def cut_short(self) -> bool:
        """True once something was stopped early because a user asked for it."""
        return self._cut_short

    def take_solve_interrupt(self) -> bool:
        with self._lock:
            asked, self._solve = self._solve, False
            self._cut_short = self._cut_short or asked
        return asked

    def check(self) -> None:
        """Raise ``RunEnded`` if the procedure is to end."""
        if self._execution:
            raise RunEnded
