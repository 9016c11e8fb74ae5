"""What a runner is told by whoever started it: the only reader of the environment."""

from pathlib import Path
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_RUNNER_", frozen=True, use_attribute_docstrings=True
    )

    session_id: UUID | None = None
    """None of a member of a pool, which hears later which session it is to become."""

    gateway_url: str
    """Where it calls home."""

    token_file: Path
    """Holds the token that names this session, or this member."""

    folder: Path
    """Writable; nothing of it outlives the session."""

    unit_file: Path | None = None
    """Written first: which process this is. None: whoever started it knows."""

    ready_file: Path | None = None
    """Written once the session answers, with the address at which it does. None: it is asked."""

    termination_file: Path
    """Written last: why the session ended. May be mounted, so that nothing can take its place."""

    idle_seconds: Annotated[int, Field(gt=0)] = 900
    """Without a request, an open WebSocket or a task for this long, the session ends."""

    task_grace_seconds: Annotated[float, Field(gt=0)] = 30.0
    """After a procedure's time limit its solver is stopped; the best result may take this long."""

    start_seconds: Annotated[float, Field(gt=0)] = 150.0
    """How long an app, or a container beside us, may take until it answers."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    """0 takes a free one."""

    lifeline: Path | None = None
    """Socket whose closing ends this session."""

    external_port: Annotated[int, Field(gt=0, le=65535)] | None = None
    """Where the container of an external session listens; None of every other kind."""

    external_refused_seconds: Annotated[float, Field(gt=0)] = 30.0
    """A container that takes no connection for this long will not come back."""

    member: Annotated[str, Field(min_length=1)] | None = None
    """Name of a runner that waits in a pool; None of one that was started for its session."""

    activation_key_file: Path | None = None
    """Hex. By this key a member knows that it is the scheduler who makes it a session."""

    member_seconds: Annotated[float, Field(ge=0)] = 0.0
    """A member that nobody has needed for this long ends; 0: it waits for ever."""

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        if (self.session_id is None) == (self.member is None):
            raise ValueError("a runner has either a session or the name of a member")
        if (self.member is None) != (self.activation_key_file is None):
            raise ValueError("a member, and nobody else, has an activation key")
        return self
