"""Settings of the gateway: the only reader of the environment."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from slipway_common.settings import (
    BlobSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    PositiveDuration,
)


class Settings(BaseSettings):
    """``SLIPWAY_GATEWAY_KAFKA__BOOTSTRAP_SERVERS`` sets ``kafka.bootstrap_servers``."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_GATEWAY_",
        env_nested_delimiter="__",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings
    blobs: BlobSettings
    http: HttpSettings
    health: HttpSettings
    logs: LogSettings = LogSettings()

    public_url: Annotated[str, Field(pattern=r"^https?://[^/]+$")]
    """Where users reach the portal; requests that change something must come from there."""

    sessions_host: Annotated[str, Field(min_length=1)]
    """Each session has its own host name below this one, which is another site than the portal."""

    accounts_url: str
    service_token_file: Path
    keys_folder: Path
    session_secret_file: Path
    """Hex. From it comes what the gateway shows to each session to prove who it is."""

    runner_verification_key_file: Path
    """Public key (PEM) of the scheduler, which signs what runners call home with."""

    seal_certificate_file: Path
    """Certificate (PEM) that publishers seal their apps for."""

    max_upload_bytes: Annotated[int, Field(gt=0)] = 2 * 1024**3
    max_task_bytes: Annotated[int, Field(gt=0)] = 16 * 1024**2

    default_task_time_limit: PositiveDuration = timedelta(hours=1)

    @property
    def secure(self) -> bool:
        return self.public_url.startswith("https://")
