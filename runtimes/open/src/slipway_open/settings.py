"""What the runner hands to the engine; the only place that reads the environment."""

import os
from collections.abc import Mapping, MutableMapping
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
class SessionApp:
    """The app, and the session that it is for."""

    descriptor: int
    """Number of the descriptor that holds the app archive."""

    session_id: str
    kind: SessionKind


@dataclass(frozen=True, slots=True)
class EngineSettings:
    socket_path: Path
    app: SessionApp | Path
    """What is to be served, or the socket through which that comes later."""


def read_settings(environment: Mapping[str, str] = os.environ) -> EngineSettings:
    def required(name: str) -> str:
        value = environment.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set: the engine is started by the runner")
        return value

    socket_path = Path(required("SLIPWAY_ENGINE_SOCKET"))
    if environment.get("SLIPWAY_APP_SOCKET"):
        return EngineSettings(socket_path, Path(environment["SLIPWAY_APP_SOCKET"]))
    descriptor = required("SLIPWAY_APP_FD")
    if not descriptor.isdecimal():
        raise SettingsError("SLIPWAY_APP_FD is not the number of a file descriptor")
    return EngineSettings(
        socket_path,
        SessionApp(
            descriptor=int(descriptor),
            session_id=required("SLIPWAY_SESSION_ID"),
            kind=kind_of(required("SLIPWAY_SESSION_KIND")),
        ),
    )


def kind_of(text: str) -> SessionKind:
    if text not in set(SessionKind):
        raise SettingsError(f"the kind of a session is one of {', '.join(SessionKind)}")
    return SessionKind(text)


def remember(app: SessionApp, environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the environment say what it would have said if the app had been there from the start."""
    environment["SLIPWAY_SESSION_ID"] = app.session_id
    environment["SLIPWAY_SESSION_KIND"] = app.kind
