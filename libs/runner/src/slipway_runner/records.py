"""Files through which a runner speaks to whoever started it, even after its death."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.sessions import EndReason
from slipway_common.text import storable_message

MAX_TERMINATION_BYTES = 4096
"""A kubelet reads no more of it."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the session is over, in words for its user."""

    reason: EndReason
    message: str = ""


def write_unit(path: Path) -> None:
    process = psutil.Process()
    _write_whole(path, _encoded({"pid": process.pid, "started": process.create_time()}))


def write_ready(path: Path, *, address: str) -> None:
    _write_whole(path, _encoded({"address": address}))


def write_termination(path: Path, ending: Ending, *, use: SessionUse) -> None:
    content = termination(ending, use=use)
    try:
        _write_whole(path, content)
    except OSError:
        # It is a mount, or its folder is not ours: then the file is there, and is written into.
        with path.open("wb") as file:
            file.write(content)


def termination(ending: Ending, *, use: SessionUse) -> bytes:
    """As JSON, with as much of the message as there is room for."""
    message = storable_message(ending.message)
    while True:
        content = _encoded(
            {
                "reason": ending.reason,
                "message": message,
                "peakMemoryMib": use.peak_memory_mib,
                "cpuSeconds": round(use.cpu_seconds, 3),
            }
        )
        excess = len(content) - MAX_TERMINATION_BYTES
        if excess <= 0:
            return content
        # No letter takes more than six bytes: small steps cut off little more than they must.
        message = message.removesuffix("…")[: -(excess // 6 + 1)] + "…"


def _encoded(content: dict[str, object]) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def _write_whole(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise
