"""What the runner hands to the engine; the only place that reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class SessionKind(StrEnum):
    WEBUI = "webui"
    SOLVE = "solve"
    TASK = "task"


class SettingsError(Exception):
    """The environment is not that of an engine."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    socket_path: Path
    app_descriptor: int
    """Number of the inherited descriptor that holds the app archive."""

    session_id: str
    kind: SessionKind


def read_settings(environment: Mapping[str, str] = os.environ) -> EngineSettings:
    def required(name: str) -> str:
        value = environment.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set: the engine is started by the runner")
        return value

    descriptor = required("SLIPWAY_APP_FD")
    if not descriptor.isdecimal():
        raise SettingsError("SLIPWAY_APP_FD is not the number of a file descriptor")
    kind = required("SLIPWAY_SESSION_KIND")
    if kind not in set(SessionKind):
        raise SettingsError(f"SLIPWAY_SESSION_KIND is one of {', '.join(SessionKind)}")
    return EngineSettings(
        socket_path=Path(required("SLIPWAY_ENGINE_SOCKET")),
        app_descriptor=int(descriptor),
        session_id=required("SLIPWAY_SESSION_ID"),
        kind=SessionKind(kind),
    )
