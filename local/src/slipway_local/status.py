"""What the supervisor tells those who ask: a file that it replaces at every change."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from slipway_local.errors import LocalError
from slipway_local.files import write_atomically
from slipway_local.part import PartState
from slipway_local.processes import Identity, is_alive


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    """Everything has been ready once. A part that has crashed since says so itself."""

    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PartStatus:
    name: str
    state: PartState
    detail: str
    address: str
    """Without secrets; empty before the first start."""

    pid: int | None
    log: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Status:
    phase: Phase
    supervisor: Identity | None
    """None if no supervisor runs."""

    error: str
    parts: tuple[PartStatus, ...]
    exports: Mapping[str, str]

    @property
    def good(self) -> bool:
        states = {part.state for part in self.parts}
        return self.phase is Phase.READY and states <= {PartState.RUNNING, PartState.EXTERNAL}


STOPPED = Status(Phase.STOPPED, None, "", (), {})


def write_status(path: Path, status: Status) -> None:
    write_atomically(path, as_json(status))


def as_json(status: Status) -> str:
    return json.dumps(asdict(status), indent=2)


def read_status(path: Path) -> Status:
    """Return what the supervisor last said; STOPPED if there is none that runs.

    The reason why a start failed outlives the supervisor.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return STOPPED
    except ValueError as error:
        raise LocalError(f"{path} is damaged: {error}; delete it") from error
    try:
        supervisor = Identity(**found["supervisor"]) if found["supervisor"] else None
        status = Status(
            phase=Phase(found["phase"]),
            supervisor=supervisor if supervisor is not None and is_alive(supervisor) else None,
            error=found["error"],
            parts=tuple(
                PartStatus(**{**part, "state": PartState(part["state"])}) for part in found["parts"]
            ),
            exports=found["exports"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError(f"{path} is damaged ({error!r}); delete it") from error
    if status.supervisor is None and status.phase is not Phase.FAILED:
        return STOPPED
    return status
