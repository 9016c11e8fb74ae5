"""What can go wrong, as RFC 9457 problems, and the exceptions that stand for them in a model.

A problem is read by the person who runs the app: it names the app's own files and never a
path of the machine.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from slipway_open.text import Message

PROBLEM_MEDIA_TYPE = "application/problem+json"


class ProblemType(StrEnum):
    INPUT_INVALID = "urn:slipway:problem:input-invalid"
    PROCEDURE_FAILED = "urn:slipway:problem:procedure-failed"
    APP_NOT_LOADABLE = "urn:slipway:problem:app-not-loadable"
    INFEASIBLE = "urn:slipway:problem:infeasible"
    NO_SOLUTION = "urn:slipway:problem:no-solution"
    INTERRUPTED = "urn:slipway:problem:interrupted"
    LOADING = "urn:slipway:problem:loading"
    BUSY = "urn:slipway:problem:busy"
    SERVICE_UNKNOWN = "urn:slipway:problem:service-unknown"
    RUN_UNKNOWN = "urn:slipway:problem:run-unknown"
    BODY_MALFORMED = "urn:slipway:problem:body-malformed"
    BODY_TOO_LARGE = "urn:slipway:problem:body-too-large"
    ORIGIN_REFUSED = "urn:slipway:problem:origin-refused"
    NOT_FOUND = "urn:slipway:problem:not-found"


class FieldError(BaseModel):
    """What is wrong with one value of the input."""

    model_config = ConfigDict(frozen=True)

    path: Message
    """JSON pointer (RFC 6901) into the input; empty for the input as a whole."""

    message: Message


class Problem(BaseModel):
    model_config = ConfigDict(frozen=True)

    type: ProblemType
    title: Message
    detail: Message | None = None
    status: int | None = None
    """Only set where the problem is the body of an HTTP answer."""

    errors: tuple[FieldError, ...] | None = None

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()


class RequestRefusedError(Exception):
    """A request cannot be served; the problem says why, in the words of the answer."""

    def __init__(
        self, status: int, kind: ProblemType, title: str, detail: str | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.problem = Problem(type=kind, title=title, detail=detail, status=status)


class AppNotLoadableError(Exception):
    """The archive, its manifest or its code is not an app; the message says what to mend."""


class InputInvalidError(Exception):
    """The input does not fit; ``errors`` has one entry for each wrong value."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.path or '/'}: {error.message}" for error in errors))
        self.errors = errors


class InfeasibleError(Exception):
    """No solution satisfies all constraints; the message tells the user what to relax."""


class NoSolutionError(Exception):
    """The solver was stopped, by a limit or by a person, before it had any solution."""

    def __init__(self, message: str, *, interrupted: bool) -> None:
        super().__init__(message)
        self.interrupted = interrupted


class RunEnded(BaseException):
    """Ends the procedure at once.

    It is no ``Exception``, so that a model that catches everything that goes wrong does not
    catch the wish of the user to end.
    """
