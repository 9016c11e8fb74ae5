"""What the environment says; it wins over what is kept in profiles."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True, slots=True)
class Settings:
    url: str | None
    api_key: str | None
    folder: Path
    """Where profiles are kept."""
    host: str
    """Name of this machine, for the names of keys."""


def read_settings() -> Settings:
    return Settings(
        url=os.environ.get("SLIPWAY_URL") or None,
        api_key=os.environ.get("SLIPWAY_API_KEY") or None,
        folder=platformdirs.user_config_path("slipway"),
        host=platform.node() or "computer",
    )
