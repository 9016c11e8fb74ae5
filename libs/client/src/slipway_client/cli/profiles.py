"""Who one is logged on as, kept between commands in a file that only its owner can read."""

import os
from pathlib import Path
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from slipway_common.errors import PermanentError

_FILE = "profiles.json"


class ProfileFileError(PermanentError):
    """The file cannot be read as what we wrote."""


class Profile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    account: str
    user: str
    key_id: UUID
    api_key: SecretStr

    @field_serializer("api_key", when_used="json")
    def _open(self, value: SecretStr) -> str:
        return value.get_secret_value()


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    profiles: dict[str, Profile] = {}


class ProfileFile:
    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE

    def find(self, name: str) -> Profile | None:
        return self._read().get(name)

    def put(self, name: str, profile: Profile) -> None:
        self._write({**self._read(), name: profile})

    def remove(self, name: str) -> None:
        self._write({known: kept for known, kept in self._read().items() if known != name})

    def _read(self) -> dict[str, Profile]:
        try:
            return _Content.model_validate_json(self.path.read_bytes()).profiles
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            # Without its words: they would quote what is in the file, keys included.
            raise ProfileFileError(
                f"{self.path} is damaged: remove it and run slipway login."
            ) from error.__cause__

    def _write(self, profiles: dict[str, Profile]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path.with_name(f".{uuid4().hex}")
        # Made with its mode, not given it later: no moment in which others could read it.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(_Content(profiles=profiles).model_dump_json(indent=1))
            draft.replace(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
