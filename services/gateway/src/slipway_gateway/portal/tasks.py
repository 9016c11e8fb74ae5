"""Tasks: how far they are, what came of them, and how to end one early."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, ProblemError
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import InterruptRequest, InterruptScope
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.pages import Pages, redirect
from slipway_gateway.portal.failures import PageRoute
from slipway_gateway.routes.dependencies import CallerDependency, CursorQuery, page

PER_PAGE = 25

STATES: Mapping[str, str] = MappingProxyType(
    {
        TaskState.QUEUED: "Queued",
        TaskState.ASSIGNED: "Assigned",
        TaskState.RUNNING: "Running",
        TaskState.SOLVING: "Solving",
        TaskState.COMPLETED: "Completed",
        TaskState.FAILED: "Failed",
    }
)


def build(accounts: AccountsClient, pages: Pages) -> APIRouter:
    router = APIRouter(route_class=PageRoute)

    @router.get("/tasks", response_class=Response)
    async def tasks(
        request: Request, caller: CallerDependency, cursor: CursorQuery = None
    ) -> Response:
        caller.require("read")
        found = await page(accounts.tasks, caller.token, limit=PER_PAGE, cursor=cursor)
        return pages.render(
            request,
            "tasks.html",
            caller=caller,
            section="tasks",
            tasks=found.items,
            following=found.next,
            first=cursor is None,
            states=STATES,
            live=any(not task.state.over for task in found.items),
        )

    @router.post("/tasks/{task_id}/interrupt", response_class=Response)
    async def interrupt(
        caller: CallerDependency, task_id: UUID, scope: Annotated[InterruptScope, Form()] = "solve"
    ) -> Response:
        caller.require("tasks")
        try:
            await accounts.interrupt(caller.token, task_id, InterruptRequest(scope=scope))
        except ProblemError as error:
            # It came to its end first: the list shows how.
            if error.problem.type != Code.TASK_OVER.type:
                raise
        return redirect("/tasks")

    return router
