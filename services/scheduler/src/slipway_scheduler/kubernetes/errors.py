"""What the API server refuses, told apart by what can be done about it."""

import json
import math
from typing import Any

from slipway_common.errors import PermanentError, SlipwayError, TransientError


class ApiError(SlipwayError):
    """An answer that was not what we asked for."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFoundError(ApiError, PermanentError):
    """Nothing has that name, or it is gone already."""


class ConflictError(ApiError, TransientError):
    """It exists already, has changed since, or is another object than the one that was meant."""


class ExpiredError(ApiError, TransientError):
    """The server does not remember so far back: everything must be listed anew."""


class RefusedError(ApiError, PermanentError):
    """Asking the same thing again will be refused again."""


class QuotaError(ApiError, TransientError):
    """The namespace is full; room comes back when something in it ends."""


LONGEST_PAUSE = 60.0
"""Of seconds: whoever asks for more, or for no number, is not taken at their word."""


class ThrottledError(ApiError, TransientError):
    """The server asks for a pause."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, status=429, reason="TooManyRequests")
        self.retry_after = retry_after


class UnavailableError(ApiError, TransientError):
    """No answer, or one that says nothing: what was asked may have been done all the same."""


class StuckWatchError(ApiError, TransientError):
    """It is open and brings nothing that is of use: what it should have told must be listed."""


_NOT_OF_WHAT_WAS_ASKED = (
    "is forbidden: User ",  # a right is missing
    "because it is being terminated",
    "status unknown for quota",
    "not yet ready to handle request",
)
"""What the server says when its own state, or what an operator has to set up, is in the way. It
passes, or somebody mends it; no session is at fault."""


def error_of(status: int, body: bytes, *, retry_after: str | None = None) -> ApiError:
    """Translate an answer of 400 and above."""
    found = _document(body)
    message = str(found.get("message") or f"the API server answered {status}")
    reason = str(found.get("reason") or "")
    match status:
        case 403 | 404 if _is_set_up_wrong(found, message):
            return UnavailableError(message, status=status, reason=reason)
        case 404:
            return NotFoundError(message, status=status, reason=reason)
        case 409 if _details(found).get("kind") == "resourcequotas":
            # Others were counted at the same moment; of what was asked, nothing was done.
            return UnavailableError(message, status=status, reason=reason)
        case 409:
            return ConflictError(message, status=status, reason=reason)
        case 410:
            return ExpiredError(message, status=status, reason=reason)
        case 429:
            return ThrottledError(message, retry_after=_seconds(found, retry_after))
        case 403 if "exceeded quota" in message:
            return QuotaError(message, status=status, reason=reason)
        case 401:
            # Our own log-on is at fault, and no session for it.
            return UnavailableError(message, status=status, reason=reason)
        case 422 if reason == "Invalid" and "the server rejected our request" in message:
            # A JSON patch whose test did not hold is told in this way.
            return ConflictError(message, status=status, reason=reason)
        case 422 if _names_another_object(found):
            return ConflictError(message, status=status, reason=reason)
        case _ if status >= 500:
            return UnavailableError(message, status=status, reason=reason)
        case _:
            return RefusedError(message, status=status, reason=reason)


def _is_set_up_wrong(found: dict[str, Any], message: str) -> bool:
    if found.get("reason") == "NotFound":
        return _details(found).get("kind") == "namespaces"
    return any(phrase in message for phrase in _NOT_OF_WHAT_WAS_ASKED)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _details(found: dict[str, Any]) -> dict[str, Any]:
    details = found.get("details")
    return details if isinstance(details, dict) else {}


def _names_another_object(found: dict[str, Any]) -> bool:
    """A patch with the uid of an object that had the name before is told that uids never change."""
    causes = _details(found).get("causes")
    return isinstance(causes, list) and {"metadata.uid"} == {
        cause.get("field") for cause in causes if isinstance(cause, dict)
    }


def _seconds(found: dict[str, Any], header: str | None) -> float:
    try:
        stated = float(_details(found).get("retryAfterSeconds") or header or 1)
    except (TypeError, ValueError):
        return 1.0
    return 1.0 if math.isnan(stated) else min(max(stated, 0.1), LONGEST_PAUSE)
