"""What of a stack runs in pods, and in which cluster: chosen at a start, and remembered."""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from slipway_local.environment import PodPlace
from slipway_local.errors import LocalError
from slipway_local.files import write_atomically
from slipway_local.processes import Identity


class Sessions(StrEnum):
    """What sessions are, as a person says it."""

    PROCESSES = "processes"
    PODS = "pods"


class InPods(StrEnum):
    NOTHING = "nothing"
    SESSIONS = "sessions"
    SERVICES = "services"
    """The stack is Kafka, PostgreSQL and the storage; the services are put into the cluster."""


WORDS = {
    # What runs → what it is, and how the same is asked for.
    InPods.NOTHING: ("has its sessions as processes", "--sessions processes"),
    InPods.SESSIONS: ("has its sessions as pods", "--sessions pods (make: SESSIONS=pods)"),
    InPods.SERVICES: ("is there for services in pods", "up --for-pods"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered beside the stack's own state, in ``pods.json``."""

    in_pods: InPods = InPods.NOTHING
    place: PodPlace | None = None
    """None while nothing runs in pods."""

    cluster: Identity | None = None
    """The supervisor of the local cluster, if it was started for this stack."""

    def without_cluster(self) -> "Record":
        return replace(self, cluster=None)


def read_record(path: Path) -> Record:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return Record()
    except ValueError as error:
        raise LocalError(f"{path} is damaged: {error}; stop with: down, and delete it") from error
    try:
        place, cluster = found["place"], found["cluster"]
        return Record(
            in_pods=InPods(found["in_pods"]),
            place=PodPlace(**{**place, "kubeconfig": Path(place["kubeconfig"])}) if place else None,
            cluster=Identity(**cluster) if cluster else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError(
            f"{path} is damaged ({error!r}); stop with: down, and delete it"
        ) from error


def write_record(path: Path, record: Record) -> None:
    write_atomically(path, json.dumps(asdict(record), indent=2, default=str))


def refuse_another(running: InPods, wanted: InPods) -> None:
    """Raise LocalError if the stack that runs is of another kind than the one that is wanted."""
    if running is not wanted:
        what, how = WORDS[running]
        raise LocalError(
            f"the stack that runs {what}; ask for the same ({how}), or stop it first with: down"
        )
