"""Where the blobs of an account lie, and the context that binds each to its place."""

from uuid import UUID

from slipway_common.crypto.envelope import Context


def container_of(account_id: UUID) -> str:
    return f"account-{account_id}"


def inbox_blob(upload: UUID) -> str:
    return f"inbox/{upload}"


def package_blob(package_id: UUID) -> str:
    return f"packages/{package_id}"


def task_request_blob(task_id: UUID) -> str:
    return f"tasks/{task_id}/request"


def task_response_blob(task_id: UUID) -> str:
    return f"tasks/{task_id}/response"


def session_log_blob(session_id: UUID) -> str:
    return f"sessions/{session_id}/log"


def context_of(account_id: UUID, blob: str) -> Context:
    """A blob opens only under the account and the name that it was written for."""
    return {"account": str(account_id), "blob": blob}
