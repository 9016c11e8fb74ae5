"""Files through which a runner speaks to whoever started it, even after its death."""

import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path

import psutil

from slipway_common.contracts.sessions import EndReason
from slipway_common.text import storable_message


@dataclass(frozen=True, slots=True)
class Ending:
    """Why the session is over, in words for its user."""

    reason: EndReason
    message: str = ""


def write_unit(path: Path) -> None:
    process = psutil.Process()
    _write_whole(path, {"pid": process.pid, "started": process.create_time()})


def write_ready(path: Path, *, address: str) -> None:
    _write_whole(path, {"address": address})


def write_termination(path: Path, ending: Ending) -> None:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    engine = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    _write_whole(
        path,
        {
            "reason": ending.reason,
            "message": storable_message(ending.message),
            "peakMemoryMib": (own + engine) // 1024,
        },
    )


def _write_whole(path: Path, content: dict[str, object]) -> None:
    draft = path.with_suffix(".draft")
    with draft.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
