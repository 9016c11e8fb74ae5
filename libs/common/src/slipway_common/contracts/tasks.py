"""Tasks: one call of a procedure of an app through the REST API."""

from enum import StrEnum
from typing import Literal
from uuid import UUID

from typing_extensions import override

from slipway_common.contracts.base import Event, SessionId, TaskId, UserId


class TaskState(StrEnum):
    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SOLVING = "solving"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        return self in {TaskState.COMPLETED, TaskState.FAILED}


class TaskChanged(Event):
    """The task entered a state; every state of every task is told."""

    type: Literal["slipway.task.changed"] = "slipway.task.changed"
    task_id: TaskId
    user_id: UserId
    app_name: str
    app_version: str
    service: str
    state: TaskState
    version: int
    """Counts the changes of the task: a reader that has seen a higher one ignores this."""
    session_id: SessionId | None = None
    outcome: str | None = None
    """Of a completed task: completed, or interrupted with the best result so far."""
    problem_type: str | None = None
    """Of a failed task: the type of its problem."""

    @property
    @override
    def subject(self) -> UUID:
        return self.task_id
