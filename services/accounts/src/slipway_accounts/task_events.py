"""What the mesh is told of tasks: each new state, once it is committed."""

from typing import Any
from uuid import UUID

from slipway_accounts.storage import task_store
from slipway_common.contracts.base import AccountId, SessionId, TaskId, UserId
from slipway_common.contracts.tasks import TaskChanged, TaskState
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection


async def tell(tx: Connection, task_id: UUID) -> Any:
    """Queue the event of the task's new state; returns its row."""
    row = await task_store.find(tx, task_id)
    assert row is not None
    await messages.enqueue(
        tx,
        TaskChanged(
            account_id=AccountId(row["account_id"]),
            task_id=TaskId(task_id),
            user_id=UserId(row["user_id"]),
            app_name=row["app"],
            app_version=row["version"],
            service=row["service"],
            state=TaskState(row["state"]),
            version=row["revision"],
            session_id=None if row["session_id"] is None else SessionId(row["session_id"]),
            outcome=row["outcome"],
            problem_type=None if row["problem"] is None else row["problem"]["type"],
        ),
    )
    return row
