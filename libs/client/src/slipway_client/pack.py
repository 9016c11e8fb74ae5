"""Apps in the form that the platform takes: one plain archive, sealed so that only it can read it.

The same files make the same archive, byte for byte. It is never a file that others could find: it
is in memory, or, above a size, in a file without a name. Only what was sealed is left on disk.
"""

import hashlib
import json
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from slipway_client.project import MANIFEST, SUFFIX, Project, read_project
from slipway_common.crypto.envelope import Encryptor, new_data_key
from slipway_common.crypto.keys import Seal

_IN_MEMORY = 64 * 1024 * 1024
_CHUNK_SIZE = 1024 * 1024
_MOMENT = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_UNIX = 3
# The platform refuses what is more than a hundred times its compressed form.
_MAX_RATIO = 90


@dataclass(frozen=True, slots=True)
class PackedFile:
    name: str
    size: int
    packed_size: int


class PackedApp:
    """The plain archive; it is gone when this is closed."""

    def __init__(self, project: Project, archive: IO[bytes], files: tuple[PackedFile, ...]) -> None:
        self.name = project.name
        self.version = project.version
        self.files = files
        """In the order of the archive, its manifest first."""
        self._archive = archive
        self.packed_size = archive.seek(0, SEEK_END)
        archive.seek(0)
        self.sha256 = hashlib.file_digest(archive, "sha256").hexdigest()  # type: ignore[arg-type]  # a file is enough

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}{SUFFIX}"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def seal(self, certificate: bytes, output: IO[bytes]) -> None:
        """Write the sealed archive; twice gives other bytes, since each time has its own key."""
        data_key = new_data_key()
        encryptor = Encryptor(
            data_key,
            key=Seal(certificate).wrap(data_key),
            context={"purpose": "app", "name": self.name, "version": self.version},
        )
        output.write(encryptor.header)
        self._archive.seek(0)
        while chunk := self._archive.read(_CHUNK_SIZE):
            for segment in encryptor.feed(chunk):
                output.write(segment)
        output.write(encryptor.finish())

    def close(self) -> None:
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def pack(folder: Path) -> PackedApp:
    """Raise ProjectError if the project cannot be packed."""
    project = read_project(folder)
    archive: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - the app closes it
    try:
        return PackedApp(project, archive, _write(project, archive))
    except BaseException:
        archive.close()
        raise


def sealed_file() -> IO[bytes]:
    """A place for a sealed archive that is only passing through."""
    return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)


def _write(project: Project, output: IO[bytes]) -> tuple[PackedFile, ...]:
    manifest = json.dumps(project.manifest(), ensure_ascii=False, indent=1).encode()
    with zipfile.ZipFile(output, "w", allowZip64=False) as archive:
        packed = [_add(archive, MANIFEST, BytesIO(manifest))]
        for file in project.files:
            with file.source.open("rb") as content:
                packed.append(_add(archive, str(file.path), content))
    return tuple(packed)


def _add(archive: zipfile.ZipFile, name: str, content: IO[bytes]) -> PackedFile:
    entry = zipfile.ZipInfo(name, date_time=_MOMENT)
    entry.create_system = _UNIX
    entry.external_attr = _MODE << 16
    entry.compress_type = _method(content)
    content.seek(0)
    with archive.open(entry, "w") as target:
        shutil.copyfileobj(content, target, _CHUNK_SIZE)
    return PackedFile(name=name, size=entry.file_size, packed_size=entry.compress_size)


def _method(content: IO[bytes]) -> int:
    """Deflate what gets smaller by it, but not by so much that it looks like a bomb."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = compressed = 0
    while chunk := content.read(_CHUNK_SIZE):
        size += len(chunk)
        compressed += len(compressor.compress(chunk))
    compressed += len(compressor.flush())
    return (
        zipfile.ZIP_DEFLATED if compressed < size <= _MAX_RATIO * compressed else zipfile.ZIP_STORED
    )
