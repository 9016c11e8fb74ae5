"""Ids of runtimes: which one is meant, which release it belongs to, and which of two is newer."""

import re
from dataclasses import dataclass
from typing import Self

from typing_extensions import override

_NUMBER = r"(0|[1-9][0-9]{0,8})"
_WORD = r"([a-z0-9_]{1,32})"
_ID = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}\.{_NUMBER}-{_WORD}-{_WORD}")


@dataclass(frozen=True, slots=True, order=True)
class RuntimeId:
    """``MAJOR.MINOR.HOTFIX.BUILD-OS-ARCH``; the later of two for one platform is the larger."""

    major: int
    minor: int
    hotfix: int
    build: int
    os: str
    arch: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id that has exactly one spelling; anything else is a ``ValueError``."""
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError("a runtime's id is MAJOR.MINOR.HOTFIX.BUILD-OS-ARCH")
        major, minor, hotfix, build, os, arch = match.groups()
        return cls(int(major), int(minor), int(hotfix), int(build), os, arch)

    @property
    def release(self) -> str:
        """What an app asks for; its newest hotfix is the one that a session gets."""
        return f"{self.major}.{self.minor}"

    @property
    def version(self) -> str:
        return f"{self.release}.{self.hotfix}.{self.build}"

    @property
    def platform(self) -> str:
        return f"{self.os}-{self.arch}"

    @override
    def __str__(self) -> str:
        return f"{self.version}-{self.platform}"
