"""Groups of settings that several services use; each service's ``settings.py`` composes them.

Secrets are named by files, so that none stands in the environment or in an argument.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

PositiveDuration = Annotated[timedelta, Field(gt=timedelta(0))]


class SettingsGroup(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KafkaSettings(SettingsGroup):
    bootstrap_servers: Annotated[str, Field(min_length=1)]

    replication_factor: Annotated[int, Field(ge=1)] = 1
    """Of topics that are made at start; topics that exist keep theirs."""


class PostgresSettings(SettingsGroup):
    dsn: SecretStr
    """May name several hosts; connections go to the one that takes writes."""

    pool_size: Annotated[int, Field(ge=2)] = 16
    """Commits per second peaked at 16 connections on two cores."""

    statement_timeout: PositiveDuration = timedelta(seconds=10)


class BlobSettings(SettingsGroup):
    connection_string_file: Path


class HttpSettings(SettingsGroup):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)]


class LogSettings(SettingsGroup):
    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


def read_secret(path: Path) -> SecretStr:
    """Read a secret from its file, without the newline that editors leave behind."""
    return SecretStr(path.read_text().strip())
