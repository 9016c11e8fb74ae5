"""What our own distributions need, read from their project files."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Projects = Mapping[str, Mapping[str, Any]]
"""Name of a distribution → the ``project`` table of its pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of our own distributions, and which of its extras are wanted."""

    folder: str
    extras: tuple[str, ...] = ()


def read_projects(repository: Path) -> Projects:
    """Read all distributions of the workspace."""
    workspace = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["uv"]
    files = [
        file
        for pattern in workspace["workspace"]["members"]
        for file in sorted(repository.glob(f"{pattern}/pyproject.toml"))
    ]
    projects = [tomllib.loads(file.read_text())["project"] for file in files]
    return {project["name"]: project for project in projects}


def name_of(member: Member, repository: Path) -> str:
    file = repository / member.folder / "pyproject.toml"
    return str(tomllib.loads(file.read_text())["project"]["name"])


def outside_requirements(
    projects: Projects, wanted: Sequence[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """Return what the wanted distributions need that is none of our own, sorted.

    ``wanted`` is names with extras; what they need of each other is followed.
    """
    outside: set[str] = set()
    seen: set[tuple[str, str | None]] = set()
    open_ends: list[tuple[str, str | None]] = [
        (name, extra) for name, extras in wanted for extra in (None, *extras)
    ]
    while open_ends:
        name, extra = open_ends.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        project = projects[name]
        needs = project.get("dependencies", []) if extra is None else _extra(project, extra)
        for need in needs:
            needed, extras = _parse(need)
            if needed in projects:
                open_ends += [(needed, each) for each in (None, *extras)]
            else:
                outside.add(need)
    return sorted(outside)


def _extra(project: Mapping[str, Any], extra: str) -> Sequence[str]:
    found: Sequence[str] = project["optional-dependencies"][extra]
    return found


def _parse(requirement: str) -> tuple[str, tuple[str, ...]]:
    """Take name and extras from the beginning of a requirement."""
    found = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} is no requirement")
    extras = (found.group(2) or "").split(",")
    return found.group(1).lower(), tuple(extra.strip() for extra in extras if extra.strip())
