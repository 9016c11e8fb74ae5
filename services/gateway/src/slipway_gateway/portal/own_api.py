"""Our own API, asked in a reader's name: who may read what is decided once.

No connection is opened; the request stays inside the process.
"""

from starlette.requests import Request
from starlette.types import Message

from slipway_common.contracts.problems import Problem, ProblemError

_KEPT = ("type", "asgi", "http_version", "scheme", "server", "client", "headers", "root_path")


async def get(request: Request, path: str) -> bytes:
    """Raise the problem that the API answers with."""
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
    return bytes(content)
