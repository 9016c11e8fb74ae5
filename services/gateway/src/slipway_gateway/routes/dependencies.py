"""What routes share: who calls, and how lists are paged."""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel
from starlette.requests import Request

from slipway_common.contracts.problems import Code, problem
from slipway_gateway.identity import Caller, Identities

T = TypeVar("T")

MAX_JSON_BYTES = 1024 * 1024
"""Of bodies that are read whole; archives, tasks and responses are streamed, with bounds of
their own."""

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_OFFSET = 10_000_000


class Page(BaseModel, Generic[T]):
    """One page of a list, newest first; ``next`` is the cursor of the page after it."""

    items: list[T]
    next: str | None = None


async def _caller(request: Request) -> Caller:
    identities: Identities = request.app.state.identities
    return await identities.identify(request)


CallerDependency = Annotated[Caller, Depends(_caller)]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
CursorQuery = Annotated[str | None, Query(max_length=64)]


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, binascii.Error) as error:
        raise problem(Code.INVALID_REQUEST, "This cursor is not one of ours.") from error


async def page(
    fetch: Callable[..., Awaitable[Sequence[Any]]],
    *arguments: Any,
    limit: int,
    cursor: str | None,
    **more: Any,
) -> Page[Any]:
    """Ask for one item more than is shown, to know whether there is a next page."""
    offset = _offset(cursor)
    if not 0 <= offset <= MAX_OFFSET:
        raise problem(Code.INVALID_REQUEST, "This cursor is not one of ours.")
    items = list(await fetch(*arguments, limit=limit + 1, offset=offset, **more))
    following = (
        base64.urlsafe_b64encode(str(offset + limit).encode()).decode()
        if len(items) > limit
        else None
    )
    return Page(items=items[:limit], next=following)
