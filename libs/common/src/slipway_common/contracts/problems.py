"""Everything that can go wrong for a caller: one stable type each (RFC 9457).

A problem is raised where the decision is made and travels unchanged through the internal API to
the caller, so that portal, command line and SDK all show the same words.
"""

from enum import Enum
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict

from slipway_common.errors import SlipwayError

PREFIX = "urn:slipway:problem:"


class Code(Enum):
    """Name on the wire, HTTP status, title."""

    UNAUTHENTICATED = ("unauthenticated", HTTPStatus.UNAUTHORIZED, "Log on, or send a valid key")
    WRONG_PASSWORD = (
        "wrong-password",
        HTTPStatus.UNAUTHORIZED,
        "Account, user or password is wrong",
    )
    KEY_EXPIRED = ("key-expired", HTTPStatus.UNAUTHORIZED, "The API key has expired")
    TICKET_INVALID = ("ticket-invalid", HTTPStatus.UNAUTHORIZED, "The link was used or has expired")
    FORBIDDEN = ("forbidden", HTTPStatus.FORBIDDEN, "You may not do this")
    CROSS_SITE = ("cross-site", HTTPStatus.FORBIDDEN, "The request comes from another site")
    NOT_FOUND = ("not-found", HTTPStatus.NOT_FOUND, "There is no such thing")
    APP_NOT_FOUND = ("app-not-found", HTTPStatus.NOT_FOUND, "There is no such app")
    SERVICE_NOT_FOUND = ("service-not-found", HTTPStatus.NOT_FOUND, "The app has no such service")
    RUNTIME_NOT_FOUND = (
        "runtime-not-found",
        HTTPStatus.CONFLICT,
        "The runtime that the app needs is not published",
    )
    SERVICE_NOT_OFFERED = (
        "service-not-offered",
        HTTPStatus.NOT_FOUND,
        "No such service is offered here",
    )
    PROFILE_UNKNOWN = (
        "profile-unknown",
        HTTPStatus.CONFLICT,
        "The app asks for a resource profile that there is not",
    )
    LIMIT_OUT_OF_RANGE = (
        "limit-out-of-range",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The operator does not allow this value",
    )
    INVALID_REQUEST = (
        "invalid-request",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request is not valid",
    )
    NOT_JSON = ("not-json", HTTPStatus.BAD_REQUEST, "The body is not JSON")
    VERSION_EXISTS = (
        "version-exists",
        HTTPStatus.CONFLICT,
        "This name and version is published already",
    )
    NAME_EXISTS = ("name-exists", HTTPStatus.CONFLICT, "This name is taken")
    TOO_LARGE = ("too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large")
    TRUNCATED = ("truncated", HTTPStatus.BAD_REQUEST, "The upload ended too early")
    EMPTY = ("empty", HTTPStatus.BAD_REQUEST, "The upload is empty")
    DIGEST_MISMATCH = (
        "digest-mismatch",
        HTTPStatus.BAD_REQUEST,
        "The bytes that arrived are not the ones that were announced",
    )
    KEY_REUSED = (
        "idempotency-key-reused",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key was used for another request",
    )
    SESSION_LIMIT = (
        "session-limit-reached",
        HTTPStatus.TOO_MANY_REQUESTS,
        "The account runs as many sessions as it may",
    )
    SESSION_OVER = ("session-over", HTTPStatus.CONFLICT, "The session is over")
    SESSION_NOT_READY = (
        "session-not-ready",
        HTTPStatus.CONFLICT,
        "The session does not answer yet",
    )
    SESSION_UNREACHABLE = (
        "session-unreachable",
        HTTPStatus.BAD_GATEWAY,
        "The session cannot be reached",
    )
    SESSION_TIMEOUT = ("session-timeout", HTTPStatus.GATEWAY_TIMEOUT, "The session does not answer")
    GRANT_USED = ("grant-used", HTTPStatus.CONFLICT, "The session's grant was used already")
    TASK_NOT_OVER = ("task-not-over", HTTPStatus.CONFLICT, "The task has no response yet")
    TASK_OVER = ("task-over", HTTPStatus.CONFLICT, "The task is over")
    TASK_FAILED = ("task-failed", HTTPStatus.UNPROCESSABLE_ENTITY, "The task failed")
    TASK_TIME_LIMIT = (
        "task-time-limit",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The task took longer than it may and gave no result",
    )
    TASK_SESSION_LOST = (
        "task-session-lost",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The session that ran the task is gone",
    )
    UNAVAILABLE = (
        "unavailable",
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Part of the platform is away; try again shortly",
    )
    INTERNAL = ("internal", HTTPStatus.INTERNAL_SERVER_ERROR, "Something of ours went wrong")

    def __init__(self, slug: str, status: HTTPStatus, title: str) -> None:
        self.slug = slug
        self.status = status
        self.title = title

    @property
    def type(self) -> str:
        return PREFIX + self.slug


class Problem(BaseModel):
    """The body of every error, ``application/problem+json``."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    type: str
    title: str
    status: int
    detail: str | None = None
    """What is wrong this time, and what to do."""


class ProblemError(SlipwayError):
    """A request that cannot be granted, in the words that the caller will read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem

    @property
    def slug(self) -> str:
        return self.problem.type.removeprefix(PREFIX)


def problem(code: Code, detail: str | None = None, **more: Any) -> ProblemError:
    return ProblemError(
        Problem(type=code.type, title=code.title, status=int(code.status), detail=detail, **more)
    )
