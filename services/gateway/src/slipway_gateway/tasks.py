"""Tasks as callers see them: the body goes into a blob, the task into accounts' queue."""

import hashlib
import json
from collections.abc import AsyncIterator
from uuid import UUID, uuid5

from starlette.requests import ClientDisconnect, Request

from slipway_common.blobs.names import task_request_blob, task_response_blob
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.internal import TaskStart
from slipway_common.contracts.problems import Code, Problem, ProblemError, problem
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import TaskView
from slipway_common.failpoints import failpoint
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.idempotency import require_usable_key
from slipway_gateway.identity import Caller

_NAMESPACE = UUID("5117a7b0-6c1d-4f6e-9d53-3f0b9a0c7e12")


class TaskService:
    def __init__(self, accounts: AccountsClient, vault: Vault, *, max_bytes: int) -> None:
        self._accounts = accounts
        self._vault = vault
        self._max_bytes = max_bytes

    async def start(
        self,
        caller: Caller,
        request: Request,
        *,
        app: str,
        version: str,
        service: str,
        time_limit_seconds: int,
        key: str,
    ) -> TaskView:
        caller.require("tasks")
        require_usable_key(key)
        body = await self._body(request)
        # Checked before anything is stored, so that a wrong name leaves nothing behind.
        found = await self._accounts.app(caller.token, app, version)
        meant = f"{app}\n{version}\n{service}\n{time_limit_seconds}\n"
        what = hashlib.sha256(meant.encode() + body).hexdigest()
        task_id = uuid5(_NAMESPACE, f"{caller.principal.user_id}/{key}/{what}")
        await self._vault.put(
            caller.principal.account_id, task_request_blob(task_id), body, replace=True
        )
        failpoint("gateway.task-stored")
        return await self._accounts.start_task(
            caller.token,
            TaskStart(
                id=task_id,
                app=found.name,
                version=found.version,
                service=service,
                time_limit_seconds=time_limit_seconds,
                key=key,
                request_sha256=what,
            ),
        )

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._max_bytes:
                    raise problem(
                        Code.TOO_LARGE, f"A task takes at most {self._max_bytes // 1024**2} MiB."
                    )
        except ClientDisconnect as error:
            raise problem(Code.TRUNCATED) from error
        try:
            content = json.loads(body or b"{}", parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise problem(Code.NOT_JSON, f"The body is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise problem(Code.NOT_JSON, "The body must be a JSON object.")
        return bytes(body or b"{}")

    async def response(self, caller: Caller, task_id: UUID) -> AsyncIterator[bytes]:
        caller.require("read")
        task = await self._accounts.task(caller.token, task_id)
        if task.state is TaskState.FAILED:
            raise _failure(task)
        if task.state is not TaskState.COMPLETED:
            raise problem(Code.TASK_NOT_OVER, f"The task is {task.state}.")
        return self._vault.read(caller.principal.account_id, task_response_blob(task_id))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _failure(task: TaskView) -> ProblemError:
    """The task's own problem, with a status even if the engine gave none."""
    stated = task.problem or {}
    return ProblemError(
        Problem.model_validate(
            {"type": Code.TASK_FAILED.type, "title": Code.TASK_FAILED.title}
            | stated
            | {"status": int(Code.TASK_FAILED.status)}
        )
    )
