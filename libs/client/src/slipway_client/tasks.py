"""Tasks: calls of an app's procedures."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta
from math import ceil
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

from slipway_client.errors import UnexpectedAnswerError
from slipway_client.feeds import pages, watch
from slipway_client.operations import DriverT_co, Group, feed, operation
from slipway_client.transport import parsed
from slipway_common.contracts.views import InterruptRequest, InterruptScope, TaskView


class Tasks(Group[DriverT_co]):
    @operation
    async def start(
        self,
        app: str,
        service: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        version: str = "latest",
        time_limit: timedelta | None = None,
        idempotency_key: str | None = None,
    ) -> TaskView:
        """Queue a call; the same key gives the same task however often it is sent."""
        return await self._start(
            app,
            service,
            arguments,
            version=version,
            time_limit=time_limit,
            idempotency_key=idempotency_key,
        )

    @operation
    async def get(self, task_id: UUID | str) -> TaskView:
        response = await self._transport.request("GET", f"/tasks/{task_id}")
        return parsed(TaskView, response.content)

    @feed
    async def list(self) -> AsyncGenerator[TaskView, None]:
        async for task in pages(self._transport, "/tasks", TaskView):
            yield task

    @feed
    async def watch(
        self, task_id: UUID | str, *, after: int | None = None
    ) -> AsyncGenerator[TaskView, None]:
        """Give each change until the task is over; ``after`` is a revision seen already."""
        async for task in self._watch(task_id, after=after):
            yield task

    @operation
    async def response(self, task_id: UUID | str) -> Any:
        """Give the result; raise the task's own problem if it failed."""
        return await self._response(task_id)

    @operation
    async def interrupt(self, task_id: UUID | str, *, scope: InterruptScope = "solve") -> TaskView:
        """``solve`` keeps the best result so far, ``execution`` gives up."""
        response = await self._transport.request(
            "POST",
            f"/tasks/{task_id}/interrupt",
            json=InterruptRequest(scope=scope).model_dump(mode="json"),
        )
        return parsed(TaskView, response.content)

    @operation
    async def run(
        self,
        app: str,
        service: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        version: str = "latest",
        time_limit: timedelta | None = None,
        on_change: Callable[[TaskView], None] | None = None,
    ) -> Any:
        """Start a task, wait for it and give its result."""
        task = await self._start(app, service, arguments, version=version, time_limit=time_limit)
        if not task.state.over:
            async for change in self._watch(task.id, after=task.revision):
                if on_change is not None:
                    on_change(change)
        return await self._response(task.id)

    async def _start(
        self,
        app: str,
        service: str,
        arguments: Mapping[str, Any] | None,
        *,
        version: str,
        time_limit: timedelta | None,
        idempotency_key: str | None = None,
    ) -> TaskView:
        path = "/".join(quote(part, safe="") for part in (app, version, service))
        params = {} if time_limit is None else {"time_limit": ceil(time_limit.total_seconds())}
        response = await self._transport.request(
            "POST",
            f"/tasks/{path}",
            params=params,
            json=dict(arguments or {}),
            headers={"Idempotency-Key": idempotency_key or str(uuid4())},
        )
        return parsed(TaskView, response.content)

    def _watch(self, task_id: UUID | str, *, after: int | None) -> AsyncGenerator[TaskView, None]:
        return watch(
            self._transport,
            f"/tasks/{task_id}/events",
            TaskView,
            event="task",
            after=after,
            over=lambda view: view.state.over,
        )

    async def _response(self, task_id: UUID | str) -> Any:
        response = await self._transport.request("GET", f"/tasks/{task_id}/response")
        try:
            return response.json()
        except json.JSONDecodeError as error:
            raise UnexpectedAnswerError("the result of the task is not JSON") from error
