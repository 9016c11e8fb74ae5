"""What the environment says about the local stack; nothing else here reads it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PASSED_ON = ("PATH", "HOME", "LANG", "TZ")
PASSED_ON_PREFIX = "SSL_"


@dataclass(frozen=True, slots=True)
class Externals:
    """Addresses of parts that run elsewhere; None means: start one here."""

    kafka: str | None = None
    postgres: str | None = None
    blobs: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    state_folder: Path
    cache_folder: Path
    """Downloads, by version. May be shared by all stacks of the machine."""

    externals: Externals
    inherited: Mapping[str, str]
    """All that a part gets to see of our own environment."""

    full: Mapping[str, str]
    """Our own environment; only for the installers, which need proxies and mirrors."""

    java_home: Path | None = None


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings; an empty variable counts as one that is not set."""
    source = os.environ if environment is None else environment
    given = {name: value for name, value in source.items() if value.strip()}
    state = given.get("SLIPWAY_STATE")
    cache = given.get("SLIPWAY_CACHE")
    java_home = given.get("JAVA_HOME")
    return Settings(
        state_folder=Path(state).absolute() if state else repository() / ".slipway",
        cache_folder=Path(cache).absolute() if cache else _default_cache(),
        externals=Externals(
            kafka=given.get("SLIPWAY_KAFKA_BOOTSTRAP"),
            postgres=given.get("SLIPWAY_POSTGRES_DSN"),
            blobs=given.get("SLIPWAY_BLOB_CONNECTION"),
        ),
        inherited={
            name: value
            for name, value in given.items()
            if name in PASSED_ON or name.startswith(PASSED_ON_PREFIX)
        },
        full=given,
        java_home=Path(java_home) if java_home else None,
    )


def is_root() -> bool:
    return os.geteuid() == 0


def _default_cache() -> Path:
    return Path("/var/cache/slipway") if is_root() else Path.home() / ".cache" / "slipway"


def repository() -> Path:
    """The checkout that we are part of, or that we were called in."""
    for start in (Path(__file__).resolve(), Path.cwd() / "_"):
        for folder in start.parents:
            if (folder / "local" / "src" / "slipway_local").is_dir():
                return folder
    return Path.cwd()
