"""The log of a session, asked of our own API in the reader's name: who may read it is decided once.

No connection is opened; the request stays inside the process.
"""

from uuid import UUID

from starlette.requests import Request
from starlette.types import Message

from slipway_common.contracts.problems import Problem, ProblemError

MAX_SHOWN_BYTES = 256 * 1024

_KEPT = ("type", "asgi", "http_version", "scheme", "server", "client", "headers", "root_path")


async def read(request: Request, session_id: UUID) -> tuple[str, bool]:
    """The end of the log, and whether that is all of it."""
    path = f"/api/v1/sessions/{session_id}/log"
    scope = {name: request.scope[name] for name in _KEPT if name in request.scope} | {
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
    }
    content = bytearray()
    status = 500

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            content.extend(message.get("body", b""))

    await request.app(scope, receive, send)
    if status != 200:
        raise ProblemError(Problem.model_validate_json(bytes(content)))
    shown = bytes(content[-MAX_SHOWN_BYTES:])
    return shown.decode("utf-8", "replace"), len(shown) == len(content)
