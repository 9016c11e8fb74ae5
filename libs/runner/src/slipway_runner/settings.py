"""What a runner is told by whoever started it: the only reader of the environment."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_RUNNER_", frozen=True, use_attribute_docstrings=True
    )

    session_id: UUID
    gateway_url: str
    """Where it calls home."""

    token_file: Path
    """Holds the token that names this session."""

    folder: Path
    """Writable; nothing of it outlives the session."""

    unit_file: Path
    """Written first: which process this is."""

    ready_file: Path
    """Written once the session answers, with the address at which it does."""

    termination_file: Path
    """Written last: why the session ended."""

    idle_seconds: Annotated[int, Field(gt=0)] = 900
    """Without a request, an open WebSocket or a task for this long, the session ends."""

    task_grace_seconds: Annotated[float, Field(gt=0)] = 30.0
    """After a task's time limit its solver is stopped; the best result may take this long."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    """0 takes a free one."""

    lifeline: Path | None = None
    """Socket whose closing ends this session."""
