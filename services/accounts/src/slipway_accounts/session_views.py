"""Rows of sessions as others are shown them: its user a view, its runner a grant."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from slipway_common.contracts.internal import Grant, PackageGrant
from slipway_common.contracts.views import SessionStep, SessionView


def session_view(row: Any, steps: Sequence[Any] = ()) -> SessionView:
    return SessionView(
        id=row["id"],
        kind=row["kind"],
        app=row["app"],
        version=row["version"],
        service=row["service"],
        user=row["user_name"],
        state=row["state"],
        queue_position=row["queue_position"],
        message=row["message"],
        reason=row["reason"],
        stage=row["stage"],
        expected_at=row["expected_at"],
        node=row["node"],
        profile=row["profile"],
        created_at=row["created_at"],
        running_at=row["running_at"],
        ended_at=row["ended_at"],
        peak_memory_mib=row["peak_memory_mib"],
        cpu_seconds=row["cpu_seconds"],
        revision=row["revision"],
        steps=tuple(SessionStep(**dict(step)) for step in steps),
    )


def grant_view(session_id: UUID, row: Any) -> Grant:
    return Grant(
        session_id=session_id,
        account_id=row["account_id"],
        kind=row["kind"],
        app=_package(row, "app"),
        runtime=_package(row, "runtime"),
    )


def _package(row: Any, which: Literal["app", "runtime"]) -> PackageGrant | None:
    """None of an external session: it brings its own container."""
    if row[f"{which}_id"] is None:
        return None
    return PackageGrant(
        id=row[f"{which}_id"],
        name=row[f"{which}_name"],
        version=row[f"{which}_version"],
        blob=row[f"{which}_blob"],
        sha256=row[f"{which}_sha256"],
        size_bytes=row[f"{which}_size"],
    )
