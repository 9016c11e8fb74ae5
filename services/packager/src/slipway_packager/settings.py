"""Settings of the packager: the only reader of the environment."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from slipway_common.settings import BlobSettings, HttpSettings, KafkaSettings, LogSettings


class Settings(BaseSettings):
    """``SLIPWAY_PACKAGER_KAFKA__BOOTSTRAP_SERVERS`` sets ``kafka.bootstrap_servers``."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_PACKAGER_",
        env_nested_delimiter="__",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings
    blobs: BlobSettings
    health: HttpSettings
    logs: LogSettings = LogSettings()

    keys_folder: Path

    seal_key_file: Path
    """Private key (PEM) that opens what publishers seal; only the packager has it."""

    seal_certificate_file: Path

    vendor_roots_file: Path
    """Certificates (PEM) of the vendors whose runtimes are accepted; nothing else is trusted."""
