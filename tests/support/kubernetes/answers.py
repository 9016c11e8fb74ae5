"""What the API server says when it refuses, word by word as the real one does."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from support.kubernetes.kinds import Kind

Object = dict[str, Any]

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


class Refusal(Exception):  # noqa: N818  # it is an answer, and no fault of ours
    """An answer of 400 and above."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(metadata or {}),
            "status": "Failure",
            "message": message,
            "reason": reason,
            **({} if details is None else {"details": dict(details)}),
            "code": code,
        }


def success(code: int, **details: Any) -> Object:
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return status | ({"details": details} if details else {"code": code})


def not_found(kind: Kind, name: str) -> Refusal:
    return Refusal(404, "NotFound", f'{kind.title} "{name}" not found', details=_of(kind, name))


def already_exists(kind: Kind, name: str) -> Refusal:
    message = f'{kind.title} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, details=_of(kind, name))


def modified(kind: Kind, name: str, why: str = MODIFIED) -> Refusal:
    message = f'Operation cannot be fulfilled on {kind.title} "{name}": {why}'
    return Refusal(409, "Conflict", message, details=_of(kind, name))


def other_than_meant(kind: Kind, name: str, what: str, *, meant: str, found: str) -> Refusal:
    """A precondition of a delete or an eviction; ``what`` is UID or ResourceVersion."""
    why = "been deleted and then recreated" if what == "UID" else "been modified"
    message = (
        f'Operation cannot be fulfilled on {kind.name} "{name}": the {what} in the precondition '
        f"({meant}) does not match the {what} in record ({found}). The object might have {why}"
    )
    return Refusal(409, "Conflict", message, details={"name": name, "kind": kind.name})


def replaced_since(kind: Kind, name: str, *, namespace: str, meant: str, found: str) -> Refusal:
    """A PUT whose body names the uid of another object."""
    key = f"/registry/{kind.plural}/{namespace}/{name}"
    return modified(
        kind,
        name,
        f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {meant}, "
        f"UID in object meta: {found}",
    )


def forbidden(kind: Kind, name: str, why: str, **details: Any) -> Refusal:
    message = f'{kind.title} "{name}" is forbidden: {why}'
    return Refusal(403, "Forbidden", message, details=_of(kind, name) | details)


def invalid(kind: Kind, name: str, causes: Sequence[tuple[str, str, str]]) -> Refusal:
    """``causes``: field, reason and words of each."""
    told = [f"{field}: {words}" for field, _, words in causes]
    message = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = _of(kind, name) | {
        "kind": kind.name,
        "causes": [
            {"reason": reason, "message": words, "field": field} for field, reason, words in causes
        ],
    }
    return Refusal(422, "Invalid", f'{kind.name} "{name}" is invalid: {message}', details=details)


def immutable(kind: Kind, name: str, field: str, value: str) -> Refusal:
    words = f"Invalid value: {json.dumps(value)}: field is immutable"
    refusal = invalid(kind, name, [(field, "FieldValueInvalid", words)])
    refusal.status["details"]["causes"] *= 2  # the real one names it twice
    return refusal


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def patch_does_not_apply() -> Refusal:
    """A test that does not hold, and anything else in a JSON patch that cannot be done."""
    message = "the server rejected our request due to an error in our request"
    return Refusal(422, "Invalid", message, details={})


def unauthorized() -> Refusal:
    return Refusal(401, "Unauthorized", "Unauthorized")


def unsupported_media_type() -> Refusal:
    return Refusal(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})


def not_allowed() -> Refusal:
    message = "the server does not allow this method on the requested resource"
    return Refusal(405, "MethodNotAllowed", message, details={})


def expired_list(token: str) -> Refusal:
    """``token`` continues all the same, without a promise about what changed meanwhile."""
    return Refusal(410, "Expired", CONTINUE_TOO_OLD, metadata={"continue": token})


def expired_watch(version: int, oldest: int) -> Refusal:
    return Refusal(410, "Expired", f"too old resource version: {version} ({oldest})")


def _of(kind: Kind, name: str) -> dict[str, Any]:
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural}
