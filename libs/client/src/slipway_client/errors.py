"""What can go wrong, told apart by what the caller can do about it."""

from datetime import timedelta

from slipway_common.contracts.problems import Problem, ProblemError
from slipway_common.errors import PermanentError, TransientError


class SlipwayProblem(ProblemError):  # noqa: N818 - the API calls it a problem, so we do
    """The platform said no, in the words of RFC 9457."""

    def __init__(self, problem: Problem, *, retry_after: timedelta | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after

    @property
    def type(self) -> str:
        return self.problem.type

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def detail(self) -> str | None:
        return self.problem.detail


class UnreachableError(TransientError):
    """The platform cannot be reached, or the connection to it broke."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent
        """False if the request cannot have arrived, so that it may be sent again whatever it is."""


class UnexpectedAnswerError(PermanentError):
    """Something answers at this address, and it is not Slipway as we know it."""
