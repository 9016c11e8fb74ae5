"""Settings of accounts: the only reader of the environment."""

from datetime import timedelta
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

from slipway_common.settings import (
    BlobSettings,
    HttpSettings,
    KafkaSettings,
    LogSettings,
    PositiveDuration,
    PostgresSettings,
    SettingsGroup,
)


class FirstAdminSettings(SettingsGroup):
    """Made at the first start, and left alone afterwards."""

    account: str = "demo"
    user: str = "admin"
    password_file: Path


class Settings(BaseSettings):
    """``SLIPWAY_ACCOUNTS_KAFKA__BOOTSTRAP_SERVERS`` sets ``kafka.bootstrap_servers``."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_ACCOUNTS_",
        env_nested_delimiter="__",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings
    postgres: PostgresSettings
    blobs: BlobSettings
    http: HttpSettings
    health: HttpSettings
    logs: LogSettings = LogSettings()

    service_token_file: Path
    """What the gateway shows to be let in; the internal API answers nobody without it."""

    signing_key_file: Path
    """Ed25519 key (PEM) that signs what accounts says about who somebody is."""

    keys_folder: Path
    """Where the accounts' key-encryption keys are kept."""

    first_admin: FirstAdminSettings | None = None

    session_limit: int = 10
    """Concurrent sessions of an account that is made without a limit of its own."""

    resource_profiles_file: Path | None = None
    """JSON: name of a profile → what its sessions may use. Without it there is ``standard`` only,
    which the file may change."""

    external_services_file: Path | None = None
    """JSON: name of a service → its container. What is not in there cannot be launched."""

    shortest_idle_time: PositiveDuration = timedelta(seconds=5)
    longest_idle_time: PositiveDuration = timedelta(hours=24)
    """What an admin may choose from for the account's own idle times."""

    shortest_session_time: PositiveDuration = timedelta(minutes=1)
    longest_session_time: PositiveDuration = timedelta(days=7)
    """The same for the longest duration of a session."""

    log_on_lifetime: PositiveDuration = timedelta(hours=12)

    identity_lifetime: PositiveDuration = timedelta(seconds=60)
    """How long the gateway may trust what it was told about somebody; bounds a lost revocation."""

    ticket_lifetime: PositiveDuration = timedelta(seconds=60)

    requested_lifetime: PositiveDuration = timedelta(minutes=2)
    """A launch whose event never came (its gateway died in between) is given up after this."""
