"""From an HTTP request to what it asks, and from an answer to HTTP."""

import json
import re
from typing import Any

from aiohttp import web

from support.kubernetes import answers
from support.kubernetes.answers import Refusal
from support.kubernetes.faults import Refuse
from support.kubernetes.kinds import kind_at
from support.kubernetes.verbs import Ask

TOKEN_PREFIX = "token-of-"

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v1"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?"
)
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def token_of(user: str) -> str:
    return f"{TOKEN_PREFIX}{user}"


async def understand(request: web.Request) -> Ask | None:
    """None: there is nothing at this path. Refusal if it is not from a user of ours, or no JSON."""
    match = _PATH.fullmatch(request.path)
    kind = None if match is None else kind_at(match["group"] or "", match["plural"])
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not token.startswith(TOKEN_PREFIX):
        raise answers.unauthorized()
    if match is None or kind is None:
        return None
    params = dict(request.query)
    verb = _VERBS.get(request.method, "get" if match["name"] else "list")
    if verb == "list" and params.get("watch") in {"1", "true"}:
        verb = "watch"
    return Ask(
        verb=verb,
        kind=kind,
        namespace=match["namespace"] or "",
        name=match["name"] or "",
        subresource=match["subresource"] or "",
        user=token.removeprefix(TOKEN_PREFIX),
        body=await _body(request, kind.name),
        content_type=request.content_type,
        params=params,
        metadata_only="as=PartialObjectMetadata" in request.headers.get("Accept", ""),
        uri=request.path_qs,
        agent=request.headers.get("User-Agent", ""),
    )


async def _body(request: web.Request, kind: str) -> Any:
    if not request.can_read_body:
        return None
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise answers.bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get "
            f"version/kind; json parse error: {error}"
        ) from error


def answer(code: int, content: Any) -> web.Response:
    return web.Response(
        status=code, body=json.dumps(content).encode(), content_type="application/json"
    )


def refused(effect: Refuse) -> web.Response:
    headers = {} if effect.retry_after is None else {"Retry-After": effect.retry_after}
    if effect.plain:
        return web.Response(status=effect.code, text=effect.message, headers=headers)
    response = answer(effect.code, Refusal(effect.code, effect.reason, effect.message).status)
    response.headers.update(headers)
    return response


def line(event: Any) -> bytes:
    return json.dumps(event).encode() + b"\n"


def cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def half(request: web.Request, content: Any) -> web.StreamResponse:
    """Cut the connection in the middle of the answer."""
    body = json.dumps(content).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    cut(request)
    return response
