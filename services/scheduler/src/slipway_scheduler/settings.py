"""Settings of the scheduler: the only reader of the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict

from slipway_common.settings import HttpSettings, KafkaSettings, LogSettings, PositiveDuration


class Settings(BaseSettings):
    """``SLIPWAY_SCHEDULER_KAFKA__BOOTSTRAP_SERVERS`` sets ``kafka.bootstrap_servers``."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_SCHEDULER_",
        env_nested_delimiter="__",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings
    health: HttpSettings
    logs: LogSettings = LogSettings()

    adapter: Literal["processes"] = "processes"
    """Where sessions run: as processes of this machine."""

    work_folder: Path
    """Each session has a folder of its own in it."""

    gateway_url: str
    """Where runners call home."""

    runner_signing_key_file: Path
    """Ed25519 key (PEM) that signs the tokens of runners."""

    lifeline: Path | None = None
    """Socket that a local stack holds open while it lives; sessions end with it."""

    reconcile_interval: PositiveDuration = timedelta(milliseconds=250)
    """Pause between two looks at everything; a change is acted on at once."""

    task_grace: PositiveDuration = timedelta(seconds=30)
    """After a task's time limit its solver is stopped; the best result may take this long."""

    stop_grace: PositiveDuration = timedelta(seconds=10)
    """From the polite request to end to the kill."""
