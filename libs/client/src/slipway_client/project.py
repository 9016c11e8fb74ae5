"""A project folder as its ``slipway.toml`` describes it, judged before anything is packed.

What the platform would refuse is refused here, with all faults at once and in terms of the file
that the author wrote.
"""

import difflib
import re
import sys
import tomllib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway_client.globs import matches
from slipway_common.contracts.views import Name, Version
from slipway_common.errors import PermanentError

PROJECT_FILE = "slipway.toml"
MANIFEST = "slipway.json"
SUFFIX = ".slipway"

_ICON_SIZE = 256 * 1024
_FILE_SIZE = 1024**3
_TOTAL_SIZE = 4 * 1024**3
_FILES = 10_000
_PATH_BYTES = 240

_ALWAYS_OUT = ("__pycache__", "*.pyc", "*.pyo", "node_modules", f"*{SUFFIX}", PROJECT_FILE)
"""Names that are left out wherever they stand, next to all that starts with a dot."""

_FORBIDDEN = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f]|[ .](?:/|\Z)|(?:\A|/) ')
_DEVICE = re.compile(
    r"(?:\A|/)(?:con|prn|aux|nul|(?:com|lpt)[0-9]) *(?:\.[^/]*)?(?:/|\Z)", re.IGNORECASE
)


class ProjectError(PermanentError):
    """The project cannot be packed; ``faults`` are sentences for its author."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__(" ".join(self.faults))


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class AppTable(_Table):
    name: Name
    version: Version
    title: Annotated[str, Field(min_length=1, max_length=120)]
    description: Annotated[str, Field(max_length=4000)] = ""
    category: Annotated[str, Field(max_length=64)] = ""
    runtime: Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$")]
    profile: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")] = ""
    icon: str | None = None


class ModelTable(_Table):
    entry: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]


class ServiceTable(_Table):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    title: Annotated[str, Field(max_length=120)] = ""
    description: Annotated[str, Field(max_length=4000)] = ""


class PackTable(_Table):
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()


class ProjectTables(_Table):
    """All of ``slipway.toml``."""

    app: AppTable
    model: ModelTable
    services: tuple[ServiceTable, ...] = ()
    pack: PackTable = PackTable()


@dataclass(frozen=True, slots=True)
class ProjectFile:
    path: PurePosixPath
    """Below the project's folder; the name that the entry will have."""
    source: Path
    size: int


@dataclass(frozen=True, slots=True)
class Project:
    folder: Path
    tables: ProjectTables
    files: tuple[ProjectFile, ...]

    @property
    def name(self) -> str:
        return self.tables.app.name

    @property
    def version(self) -> str:
        return self.tables.app.version

    def manifest(self) -> dict[str, Any]:
        """Content of ``slipway.json``; what is not said is left out."""
        app = self.tables.app
        fields = {
            "schema": 1,
            **app.model_dump(exclude={"icon"}),
            "entry": self.tables.model.entry,
            "services": [service.model_dump() for service in self.tables.services],
        }
        for name in ("category", "profile"):
            if not fields[name]:
                del fields[name]
        if app.icon is not None:
            fields["icon"] = str(PurePosixPath(app.icon))
        return fields


def read_project(folder: Path) -> Project:
    """Raise ProjectError with everything that is wrong."""
    tables = _read_tables(folder)
    files, faults = _choose_files(folder, tables.pack)
    faults += [*_service_faults(tables), *_entry_faults(folder, tables, files)]
    faults += [*_icon_faults(folder, tables, files), *_syntax_faults(files)]
    faults += [*_name_faults(files), *_size_faults(files)]
    if faults:
        raise ProjectError(faults)
    return Project(folder=folder, tables=tables, files=tuple(files))


def _read_tables(folder: Path) -> ProjectTables:
    path = folder / PROJECT_FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ProjectError([f"{folder} has no {PROJECT_FILE}, so it is not a project."]) from error
    except OSError as error:
        raise ProjectError([f"{path} cannot be read: {error.strerror}."]) from error
    except UnicodeDecodeError as error:
        raise ProjectError([f"{PROJECT_FILE} is not UTF-8."]) from error
    except tomllib.TOMLDecodeError as error:
        raise ProjectError([f"{PROJECT_FILE} is not TOML: {error}."]) from error
    try:
        return ProjectTables.model_validate(content)
    except ValidationError as error:
        raise ProjectError(
            f"{PROJECT_FILE}: {_sentence(fault['loc'], fault['type'], fault)}"
            for fault in error.errors(include_url=False)
        ) from error


_TABLES: dict[str, type[_Table]] = {
    "": ProjectTables,
    "app": AppTable,
    "model": ModelTable,
    "services": ServiceTable,
    "pack": PackTable,
}

_RULES = {
    ("app", "name"): "1 to 64 letters, digits, blanks and . _ -, starting with a letter or digit",
    ("app", "version"): "1 to 32 letters, digits and . _ + -, starting with a letter or digit",
    ("app", "runtime"): "a release of the runtime, MAJOR.MINOR, such as 1.0",
    ("app", "profile"): "1 to 32 of a-z, 0-9 and - inside of it, such as large",
    ("model", "entry"): "MODULE:OBJECT, such as model:app",
    ("services", "name"): "1 to 64 letters, digits and _ -",
}


def _sentence(place: Sequence[int | str], kind: str, fault: Any) -> str:
    table = str(place[0]) if len(place) > 1 else ""
    key = str(place[-1])
    where = f"[{table}] " if table else ""
    if table == "services" and len(place) > 2:
        where = f"[[services]] number {int(place[1]) + 1}: "
    match kind:
        case "missing":
            return f"{where}{key} is missing." if where else f"the table [{key}] is missing."
        case "extra_forbidden":
            close = difflib.get_close_matches(key, list(_TABLES[table].model_fields), n=1)
            hint = f" Do you mean {close[0]}?" if close else ""
            return f"{where}{key} is not a known key.{hint}"
        case "string_pattern_mismatch" if (table, key) in _RULES:
            return f"{where}{key} is {fault['input']!r}, and must be {_RULES[table, key]}."
        case _:
            return f"{where}{key}: {fault['msg']}."


def _choose_files(folder: Path, rules: PackTable) -> tuple[list[ProjectFile], list[str]]:
    files: list[ProjectFile] = []
    faults: list[str] = []
    used: set[str] = set()
    # Sorted by the name in the archive, so that the same files always make the same bytes.
    for path in sorted(_walk(folder, PurePosixPath()), key=str):
        wanted = [pattern for pattern in rules.include if matches(path, pattern)]
        used.update(wanted)
        if not wanted or any(matches(path, pattern) for pattern in rules.exclude):
            continue
        source = folder / path
        if source.is_symlink():
            faults.append(f"{path} is a link: put the file itself there, or exclude it.")
        elif not source.is_file():
            faults.append(f"{path} is not a plain file: exclude it.")
        else:
            files.append(ProjectFile(path=path, source=source, size=source.stat().st_size))
    faults += [
        f"{PROJECT_FILE}: [pack] include has {pattern!r}, which no file matches."
        for pattern in rules.include
        if pattern not in used and "include" in rules.model_fields_set
    ]
    return files, faults


def _walk(folder: Path, below: PurePosixPath) -> Iterable[PurePosixPath]:
    for child in (folder / below).iterdir():
        path = below / child.name
        if child.name.startswith(".") or any(
            PurePosixPath(child.name).match(pattern) for pattern in _ALWAYS_OUT
        ):
            continue
        if child.is_dir() and not child.is_symlink():
            yield from _walk(folder, path)
        else:
            yield path


def _service_faults(tables: ProjectTables) -> Iterable[str]:
    names = [service.name for service in tables.services]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{PROJECT_FILE}: [[services]] has two with the name {name!r}."


def _entry_faults(
    folder: Path, tables: ProjectTables, files: Sequence[ProjectFile]
) -> Iterable[str]:
    module = tables.model.entry.partition(":")[0].replace(".", "/")
    candidates = (f"{module}.py", f"{module}/__init__.py")
    if any(str(file.path) in candidates for file in files):
        return
    for candidate in candidates:
        if (folder / candidate).exists():
            yield f"The entry module {candidate} is left out by the [pack] patterns."
            return
    yield (
        f"{PROJECT_FILE}: [model] entry is {tables.model.entry!r}, and there is no {candidates[0]}."
    )


def _syntax_faults(files: Sequence[ProjectFile]) -> Iterable[str]:
    """Compile what will be compiled; nothing of it is run or kept."""
    release = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    for file in files:
        if file.path.suffix != ".py":
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                compile(file.source.read_bytes(), str(file.path), "exec", dont_inherit=True)
        except SyntaxError as error:
            yield f"{file.path}, line {error.lineno or 1}: {error.msg} ({release})."
        except ValueError as error:
            yield f"{file.path}: {error} ({release})."


def _icon_faults(
    folder: Path, tables: ProjectTables, files: Sequence[ProjectFile]
) -> Iterable[str]:
    if tables.app.icon is None:
        return
    path = PurePosixPath(tables.app.icon)
    if path.suffix.lower() not in {".svg", ".png"}:
        yield f"The icon {path} must be an SVG or a PNG file."
    found = next((file for file in files if file.path == path), None)
    if found is None:
        there = (folder / path).is_file()
        yield (
            f"The icon {path} is left out by the [pack] patterns."
            if there
            else f"The icon {path} does not exist."
        )
    elif found.size > _ICON_SIZE:
        yield f"The icon {path} has {found.size:,} bytes; it may have {_ICON_SIZE:,} (256 KiB)."


def _name_faults(files: Sequence[ProjectFile]) -> Iterable[str]:
    known: dict[str, str] = {}
    for file in files:
        name = str(file.path)
        if name == MANIFEST:
            yield f"{MANIFEST} is made from {PROJECT_FILE}: remove or exclude yours."
        try:
            length = len(name.encode())
        except UnicodeEncodeError:
            yield f"The name {name!a} is not UTF-8."
            continue
        if length > _PATH_BYTES:
            yield f"The path {name} is longer than {_PATH_BYTES} bytes."
        if _FORBIDDEN.search(name) or _DEVICE.search(name):
            yield f"The name {name!r} cannot be used on every system: rename or exclude it."
        other = known.setdefault(name.casefold(), name)
        if other != name:
            yield f"{other} and {name} differ only in case, which not every system can tell apart."


def _size_faults(files: Sequence[ProjectFile]) -> Iterable[str]:
    if len(files) >= _FILES:
        yield f"The project has {len(files):,} files; an app may have {_FILES - 1:,}."
    for file in files:
        if file.size > _FILE_SIZE:
            yield f"{file.path} has {file.size:,} bytes; a file may have {_FILE_SIZE:,} (1 GiB)."
    total = sum(file.size for file in files)
    if total > _TOTAL_SIZE:
        yield f"The files have {total:,} bytes; an app may have {_TOTAL_SIZE:,} (4 GiB)."
