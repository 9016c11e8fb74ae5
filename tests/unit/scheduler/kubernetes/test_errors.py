"""What each answer becomes. The answers are a real API server's (1.35), taken down as they came."""

import json

import pytest

from slipway_scheduler.kubernetes.errors import (
    ApiError,
    ConflictError,
    ExpiredError,
    NotFoundError,
    QuotaError,
    RefusedError,
    ThrottledError,
    UnavailableError,
    error_of,
)


def status(code: int, reason: str, message: str, **details: object) -> bytes:
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }
    ).encode()


UID_CAUSE = {
    "reason": "FieldValueInvalid",
    "message": 'Invalid value: "nope": field is immutable',
    "field": "metadata.uid",
}
MODIFIED = "the object has been modified; please apply your changes to the latest version and try"


@pytest.mark.parametrize(
    ("code", "reason", "message", "details", "kind"),
    [
        (404, "NotFound", 'pods "zz" not found', {}, NotFoundError),
        (404, "NotFound", 'namespaces "nowhere" not found', {}, NotFoundError),
        (409, "AlreadyExists", 'pods "a" already exists', {}, ConflictError),
        (409, "Conflict", f'Operation cannot be fulfilled on pods "a": {MODIFIED}',
         {}, ConflictError),
        (409, "Conflict", ('Operation cannot be fulfilled on Pod "a": the UID in the precondition '
         "(x) does not match the UID in record (35a66180)"), {}, ConflictError),
        (409, "Conflict", f'Operation cannot be fulfilled on resourcequotas "few": {MODIFIED}',
         {"name": "few", "kind": "resourcequotas"}, UnavailableError),
        (410, "Expired", "The resourceVersion for the provided watch is too old.",
         {}, ExpiredError),
        (410, "Expired", "too old resource version: 330 (406)", {}, ExpiredError),
        (410, "Expired", ("The provided continue parameter is too old to display a consistent list "
         "result."), {}, ExpiredError),
        (422, "Invalid", "the server rejected our request due to an error in our request",
         {}, ConflictError),
        (422, "Invalid", ('Pod "a" is invalid: metadata.uid: Invalid value: "nope": field is '
         "immutable"), {"causes": [UID_CAUSE, UID_CAUSE]}, ConflictError),
        (422, "Invalid", ('Secret "s1" is invalid: data: Forbidden: field is immutable when '
         "`immutable` is set"),
         {"causes": [{"reason": "FieldValueForbidden", "field": "data"}]}, RefusedError),
        (422, "Invalid", 'Pod "a" is invalid: [metadata.uid: Invalid value, spec: Forbidden]',
         {"causes": [UID_CAUSE, {"reason": "FieldValueForbidden", "field": "spec"}]},
         RefusedError),
        (403, "Forbidden", ('pods "b" is forbidden: exceeded quota: few, requested: pods=1, '
         "used: pods=1, limited: pods=1"), {}, QuotaError),
        (403, "Forbidden", ('pods "c" is forbidden: failed quota: few: must specify requests.cpu '
         "for: c"), {}, RefusedError),
        (403, "Forbidden", ('pods "a" is forbidden: violates PodSecurity "restricted:latest": host '
         "namespaces (hostNetwork=true)"), {}, RefusedError),
        (403, "Forbidden", ('pods is forbidden: User "scheduler" cannot create resource "pods" in '
         'API group "" in the namespace "t"'), {}, UnavailableError),
        (403, "Forbidden", ('pods "a" is forbidden: unable to create new content in namespace term '
         "because it is being terminated"), {}, UnavailableError),
        (403, "Forbidden", ('pods "a" is forbidden: error looking up service account t/session: '
         'serviceaccount "session" not found'), {}, RefusedError),
        (403, "Forbidden", ('pods "a" is forbidden: no PriorityClass with name session was found'),
         {}, RefusedError),
        (403, "Forbidden", 'pods "a" is forbidden: status unknown for quota: q, resources: pods',
         {}, UnavailableError),
        (403, "Forbidden", 'secrets "a" is forbidden: not yet ready to handle request',
         {}, UnavailableError),
        (404, "NotFound", 'namespaces "t" not found', {"name": "t", "kind": "namespaces"},
         UnavailableError),
        (401, "Unauthorized", "Unauthorized", {}, UnavailableError),
        (400, "BadRequest", "unable to parse requirement: found '=', expected: identifier",
         {}, RefusedError),
        (415, "UnsupportedMediaType", "415: Unsupported Media Type", {}, RefusedError),
        (500, "", 'resourceVersion: Invalid value: "bogus": strconv.ParseUint', {},
         UnavailableError),
        (500, "InternalError", "Internal error occurred: failed calling webhook", {},
         UnavailableError),
        (503, "ServiceUnavailable", "apiserver is shutting down", {}, UnavailableError),
        (504, "Timeout", "Timeout: Too large resource version: 99999999, current: 331",
         {"retryAfterSeconds": 1}, UnavailableError),
    ],
)  # fmt: skip
def test_an_answer_is_told_apart_by_what_can_be_done_about_it(
    code: int, reason: str, message: str, details: dict[str, object], kind: type[ApiError]
) -> None:
    error = error_of(code, status(code, reason, message, **details))

    assert type(error) is kind
    assert (error.status, error.reason, str(error)) == (code, reason, message)


@pytest.mark.parametrize(
    ("body", "header", "seconds"),
    [
        (b"Too many requests, please try again later.\n", "1", 1.0),
        (b"Too many requests, please try again later.\n", "7.5", 7.5),
        (status(429, "TooManyRequests", "slow down", retryAfterSeconds=10), "1", 10.0),
        (status(429, "TooManyRequests", "slow down", retryAfterSeconds=0), "3", 3.0),
        (b"", None, 1.0),
        (b"", "Wed, 21 Oct 2026 07:28:00 GMT", 1.0),
        (b"", "-5", 0.1),
        (b"", "nan", 1.0),
        (b"", "inf", 60.0),
        (b"", "86400", 60.0),
        (status(429, "TooManyRequests", "", retryAfterSeconds={}), "2", 2.0),
        (status(429, "TooManyRequests", "", retryAfterSeconds=["no"]), "2", 1.0),
        (b'{"details": "none"}', "2", 2.0),
    ],
)
def test_a_server_that_wants_a_pause_gets_one_of_bounded_length(
    body: bytes, header: str | None, seconds: float
) -> None:
    error = error_of(429, body, retry_after=header)

    assert isinstance(error, ThrottledError)
    assert error.retry_after == seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"text"', b"\xff\xfe"])
@pytest.mark.parametrize(
    ("code", "kind"), [(400, RefusedError), (404, NotFoundError), (502, UnavailableError)]
)
def test_an_answer_that_says_nothing_is_judged_by_its_status(
    body: bytes, code: int, kind: type[ApiError]
) -> None:
    error = error_of(code, body)

    assert type(error) is kind
    assert str(error) == f"the API server answered {code}"


@pytest.mark.parametrize("causes", [[], {}, "none", [None, "text"], None])
def test_causes_of_any_shape_do_no_harm(causes: object) -> None:
    error = error_of(422, status(422, "Invalid", "Pod is invalid", causes=causes))

    assert type(error) is RefusedError
