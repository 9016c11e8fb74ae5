"""Start, watch and interrupt tasks, and fetch their results."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from slipway_common.contracts.views import InterruptRequest, Name, TaskView, Version
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.identity import Identities
from slipway_gateway.routes.dependencies import (
    DEFAULT_LIMIT,
    MAX_JSON_BYTES,
    CallerDependency,
    CursorQuery,
    LimitQuery,
    Page,
    page,
)
from slipway_gateway.routes.sessions import IdempotencyKey
from slipway_gateway.streams import event_stream
from slipway_gateway.tasks import TaskService

MAX_TIME_LIMIT_SECONDS = 7 * 24 * 3600

ServiceName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def build(
    accounts: AccountsClient,
    identities: Identities,
    tasks: TaskService,
    changes: Changes,
    *,
    default_time_limit_seconds: int,
) -> APIRouter:
    router = APIRouter(prefix="/tasks", tags=["tasks"])

    @router.post("/{app}/{version}/{service}", status_code=202, openapi_extra=_BODY)
    async def start(
        app: Name,
        version: Version,
        service: ServiceName,
        caller: CallerDependency,
        request: Request,
        response: Response,
        time_limit: Annotated[
            int, Query(ge=1, le=MAX_TIME_LIMIT_SECONDS)
        ] = default_time_limit_seconds,
        idempotency_key: IdempotencyKey = None,
    ) -> TaskView:
        task = await tasks.start(
            caller,
            request,
            app=app,
            version=version,
            service=service,
            time_limit_seconds=time_limit,
            key=idempotency_key or str(uuid4()),
        )
        response.headers["Location"] = f"/api/v1/tasks/{task.id}"
        return task

    @router.get("")
    async def list_tasks(
        caller: CallerDependency, limit: LimitQuery = DEFAULT_LIMIT, cursor: CursorQuery = None
    ) -> Page[TaskView]:
        caller.require("read")
        return await page(accounts.tasks, caller.token, limit=limit, cursor=cursor)

    @router.get("/{task_id}")
    async def view(task_id: UUID, caller: CallerDependency) -> TaskView:
        caller.require("read")
        return await accounts.task(caller.token, task_id)

    @router.get("/{task_id}/events", response_class=StreamingResponse)
    async def events(
        task_id: UUID, caller: CallerDependency, request: Request
    ) -> StreamingResponse:
        caller.require("read")

        async def look() -> TaskView:
            again = await identities.identify(request)
            return await accounts.task(again.token, task_id)

        return event_stream(request, changes, table="tasks", row=task_id, name="task", look=look)

    @router.get("/{task_id}/response", response_class=Response)
    async def task_response(task_id: UUID, caller: CallerDependency) -> Response:
        return StreamingResponse(
            await tasks.response(caller, task_id), media_type="application/json"
        )

    @router.post("/{task_id}/interrupt", status_code=202, max_body_size=MAX_JSON_BYTES)
    async def interrupt(
        task_id: UUID, body: InterruptRequest, caller: CallerDependency
    ) -> TaskView:
        caller.require("tasks")
        return await accounts.interrupt(caller.token, task_id, body)

    return router
