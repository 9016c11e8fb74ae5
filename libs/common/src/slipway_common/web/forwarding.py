"""Pass a request, or a WebSocket, on to another server: streamed, bounded, and with clean hands.

Used by the gateway (to session pods) and by the runner (to its engine). Where a request goes is
decided by the caller and never by anything in the request. What identifies a caller to us is
taken off before the request goes on, and what a session sends back can set no cookie beyond its
own host.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from unicodedata import category
from urllib.parse import unquote_to_bytes

import aiohttp
from multidict import CIMultiDict
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from yarl import URL

MAX_MESSAGE_BYTES = 16 * 1024 * 1024

CONNECT_SECONDS = 5.0
FIRST_BYTE_SECONDS = 60.0
"""How long an app may think before its first byte, and between two of them."""

_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-connection",
}
_OURS = {"authorization", "apikey", "forwarded", "host", "content-length"}
_OURS_PREFIXES = ("slipway-", "x-forwarded-", "x-real-")
_SERVERS = {"date", "server"}
"""Our own server writes these."""

_WEBSOCKET = {
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
    "sec-websocket-accept",
}
COOKIE_PREFIX = "slipway"
"""Cookies of ours begin with this; no app sees or sets one."""

_HALF_AN_ESCAPE = re.compile("%(?![0-9a-fA-F]{2})")

_NORMAL_CLOSURE = 1000
_GOING_AWAY = 1001
_NEVER_SENT = {1005, 1006, 1015}


class UnsafePathError(Exception):
    """A path that two servers could read differently."""


@dataclass(frozen=True, slots=True)
class Target:
    base: URL
    headers: Mapping[str, str]
    """Added to each request; what the caller sent under these names is dropped."""


def safe_target_path(raw_path: bytes) -> str:
    """The path as it came, unless it holds what servers are known to read differently."""
    text = raw_path.decode("ascii") if raw_path.isascii() else ""
    lowered = text.lower()
    if (
        not text.startswith("/")
        or text.startswith("//")
        or any(mark in lowered for mark in ("\\", "%2f", "%5c", "%25", ";", "?", "#", " "))
        or any(part.replace("%2e", ".") in {".", ".."} for part in lowered.split("/"))
        or _HALF_AN_ESCAPE.search(text)
        or not _is_printable(unquote_to_bytes(text))
    ):
        raise UnsafePathError
    return text


def _is_printable(decoded: bytes) -> bool:
    """Also False of what is no UTF-8, such as a slash that was written in too many bytes."""
    try:
        text = decoded.decode()
    except UnicodeDecodeError:
        return False
    return not any(category(letter) == "Cc" for letter in text)


def request_headers(headers: Iterable[tuple[str, str]], target: Target) -> CIMultiDict[str]:
    """What goes on: everything but hop-by-hop, ours, and look-alikes with underscores."""
    pairs = [(name.lower(), value) for name, value in headers]
    listed = {
        token.strip().lower()
        for name, value in pairs
        if name == "connection"
        for token in value.split(",")
    }
    dropped = _HOP_BY_HOP | _OURS | _WEBSOCKET | listed
    passed = CIMultiDict[str]()
    for name, value in pairs:
        if name in dropped or "_" in name or name.startswith(_OURS_PREFIXES):
            continue
        if name == "cookie":
            value = foreign_cookies(value)  # noqa: PLW2901  # the same header, without ours
            if not value:
                continue
        passed.add(name, value)
    passed.update(target.headers)
    return passed


def foreign_cookies(header: str) -> str:
    parts = [part.strip() for part in header.split(";")]
    return "; ".join(part for part in parts if part and not _is_ours(part))


def _is_ours(cookie: str) -> bool:
    name = cookie.partition("=")[0].strip().lower()
    return name.removeprefix("__host-").removeprefix("__secure-").startswith(COOKIE_PREFIX)


def response_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    multi = headers if isinstance(headers, CIMultiDict) else CIMultiDict(headers)
    passed = []
    for name, value in multi.items():
        lowered = name.lower()
        if lowered in _HOP_BY_HOP | _SERVERS or lowered.startswith("slipway-"):
            continue
        if lowered == "set-cookie":
            value = _own_host_cookie(value)  # noqa: PLW2901  # the same header, kept at home
            if not value:
                continue
        passed.append((name, value))
    return passed


def _own_host_cookie(value: str) -> str:
    """A cookie for this host only; empty if it has no name or poses as one of ours.

    Cut apart as browsers do it. One without a name would come back as its bare value, which may
    look like any cookie.
    """
    cookie, *attributes = value.split(";")
    name, sign, _ = cookie.partition("=")
    if not sign or not name.strip() or _is_ours(cookie):
        return ""
    kept = [each for each in attributes if each.partition("=")[0].strip().lower() != "domain"]
    return ";".join([cookie, *kept])


async def forward_http(
    request: Request, client: aiohttp.ClientSession, target: Target
) -> StreamingResponse:
    """Raise aiohttp.ClientError or TimeoutError if no answer begins."""
    url = _url(request.scope["raw_path"], request.scope["query_string"], target)
    has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
    headers = request_headers(request.headers.items(), target)
    if "content-length" in request.headers:
        headers["content-length"] = request.headers["content-length"]
    answer = await client.request(
        request.method,
        url,
        headers=headers,
        data=request.stream() if has_body else None,
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=FIRST_BYTE_SECONDS
        ),
    )

    async def body() -> AsyncIterator[bytes]:
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        finally:
            answer.close()

    response = StreamingResponse(body(), status_code=answer.status)
    response.raw_headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response_headers(answer.headers)
    ]
    return response


def _url(raw_path: bytes, query: bytes, target: Target) -> URL:
    path = safe_target_path(raw_path)
    suffix = f"?{query.decode('ascii', errors='ignore')}" if query else ""
    return URL(f"{str(target.base).rstrip('/')}{path}{suffix}", encoded=True)


async def forward_websocket(
    websocket: WebSocket,
    client: aiohttp.ClientSession,
    target: Target,
    *,
    closing: asyncio.Event | None = None,
) -> None:
    """Connect to the target first: a target that refuses is told before the upgrade.

    ``closing`` ends the connection from our side, for a caller whose right has ended.
    """
    url = _url(websocket.scope["raw_path"], websocket.scope["query_string"], target)
    async with client.ws_connect(
        url,
        headers=request_headers(websocket.headers.items(), target),
        protocols=websocket.scope.get("subprotocols", []),
        max_msg_size=MAX_MESSAGE_BYTES,
        timeout=aiohttp.ClientWSTimeout(ws_close=5),
        autoping=True,
    ) as upstream:
        await websocket.accept(subprotocol=upstream.protocol)
        pumps = {
            asyncio.create_task(_to_target(websocket, upstream)),
            asyncio.create_task(_to_caller(websocket, upstream)),
        }
        if closing is not None:
            pumps.add(asyncio.create_task(_wait(closing)))
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _close(websocket, upstream)


async def _wait(closing: asyncio.Event) -> None:
    await closing.wait()


async def _to_target(websocket: WebSocket, upstream: aiohttp.ClientWebSocketResponse[bool]) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            await upstream.close(code=_sendable(message.get("code")))
            return
        if message.get("text") is not None:
            await upstream.send_str(message["text"])
        elif message.get("bytes") is not None:
            await upstream.send_bytes(message["bytes"])


async def _to_caller(websocket: WebSocket, upstream: aiohttp.ClientWebSocketResponse[bool]) -> None:
    async for message in upstream:
        if message.type is aiohttp.WSMsgType.TEXT:
            await websocket.send_text(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await websocket.send_bytes(message.data)


async def _close(websocket: WebSocket, upstream: aiohttp.ClientWebSocketResponse[bool]) -> None:
    if websocket.application_state is WebSocketState.CONNECTED and (
        websocket.client_state is WebSocketState.CONNECTED
    ):
        try:
            await websocket.close(code=_sendable(upstream.close_code or _GOING_AWAY))
        except (RuntimeError, WebSocketDisconnect):
            return  # the caller was quicker


def _sendable(code: int | None) -> int:
    return _NORMAL_CLOSURE if code is None or code in _NEVER_SENT else code
