"""Container images as files: layers that come out the same each time, and archives of them."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
NAME_ANNOTATION = "io.containerd.image.name"
CHUNK = 1024 * 1024
TAG_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Layer:
    """An uncompressed tar."""

    path: Path
    digest: str
    """``sha256:`` and the digest of the whole file."""

    size: int


@dataclass(frozen=True, slots=True)
class Run:
    """How a container of the image runs, unless its pod says otherwise."""

    entrypoint: tuple[str, ...]
    user: str
    environment: tuple[str, ...] = ()
    working_folder: str = "/"


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    layers: tuple[Layer, ...]
    run: Run

    @property
    def config(self) -> bytes:
        content: dict[str, Any] = {
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": list(self.run.entrypoint),
                "User": self.run.user,
                "Env": list(self.run.environment),
                "WorkingDir": self.run.working_folder,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]},
        }
        return _json(content)

    @property
    def manifest(self) -> bytes:
        return _json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _described(CONFIG_TYPE, self.config),
                "layers": [
                    {"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size}
                    for layer in self.layers
                ],
            }
        )

    @property
    def digest(self) -> str:
        """The same for the same content, however often it is made."""
        return _digest(self.manifest)

    @property
    def tags(self) -> tuple[str, str]:
        """The one that moves, and the one that stays with the content."""
        return "dev", self.digest.removeprefix("sha256:")[:TAG_LENGTH]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}:{tag}" for tag in self.tags)


def architecture() -> str:
    """Name this machine's as images do."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def write_layer(
    path: Path,
    contents: Iterable[tuple[str, Path]],
    *,
    keep_times: bool = False,
    without: Collection[str] = (),
) -> Layer:
    """Write a layer of files and folders, each given with its place in the image.

    Names are sorted and times left out, unless they are to be kept: the same files make
    the same layer. Folders named in ``without``, by their place, come to be empty.
    """
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        above: set[Path] = set()
        for place, root in contents:
            for parent in reversed(Path(place).parents):
                if parent not in above and parent != parent.parent:
                    _add_folder(archive, parent)
                above.add(parent)
            for source in _walk(root, Path(place), without):
                target = Path(place) / source.relative_to(root)
                _add(archive, source, target, keep_times=keep_times)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    layer = Layer(path, f"sha256:{digest}", path.stat().st_size)
    _described_in(path).write_text(json.dumps({"digest": layer.digest, "size": layer.size}))
    return layer


def _described_in(path: Path) -> Path:
    """Where the digest of a layer is kept: it takes a second to work out."""
    return path.with_suffix(".json")


def _walk(root: Path, place: Path, without: Collection[str]) -> Iterator[Path]:
    """Yield what lies there, each folder before what it holds, in an order that never changes."""
    yield root
    if root.is_dir() and not root.is_symlink() and str(place) not in without:
        for below in sorted(root.iterdir()):
            yield from _walk(below, place / below.name, without)


def read_layer(path: Path) -> Layer:
    """Return a layer that ``write_layer`` has written."""
    written = json.loads(_described_in(path).read_text())
    return Layer(path, written["digest"], written["size"])


def write_archive(
    path: Path, image: Image, *, names: Sequence[str], present: Collection[str] = ()
) -> None:
    """Write an archive that containerd imports under these names.

    Layers whose digests are ``present`` there already are named, and left out.
    """
    index = _json(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                {
                    **_described(MANIFEST_TYPE, image.manifest),
                    "annotations": {NAME_ANNOTATION: name},
                }
                for name in names
            ],
        }
    )
    with tarfile.open(path, "w") as archive:
        _add_bytes(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add_bytes(archive, "index.json", index)
        for blob in (image.config, image.manifest):
            _add_bytes(archive, _blob(_digest(blob)), blob)
        for layer in image.layers:
            if layer.digest not in present:
                archive.add(layer.path, _blob(layer.digest), recursive=False)


def write_simple_archive(path: Path, image: Image, *, name: str) -> None:
    """Write an archive whose name containerd completes by itself, as it does for pods."""
    config = _digest(image.config).removeprefix("sha256:")
    layers = [f"{layer.digest.removeprefix('sha256:')}.tar" for layer in image.layers]
    manifest = [{"Config": f"{config}.json", "RepoTags": [name], "Layers": layers}]
    with tarfile.open(path, "w") as archive:
        _add_bytes(archive, f"{config}.json", image.config)
        _add_bytes(archive, "manifest.json", _json(manifest))
        for layer, place in zip(image.layers, layers, strict=True):
            archive.add(layer.path, place, recursive=False)


def _add(archive: tarfile.TarFile, source: Path, place: Path, *, keep_times: bool) -> None:
    member = archive.gettarinfo(source, _name(place))
    if not keep_times:
        member.mtime = 0
    member.uname = member.gname = ""
    # Hard links become files of their own: which of the names comes first would be chance.
    if member.islnk():
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", source.stat().st_size
    if member.isreg():
        with source.open("rb") as file:
            archive.addfile(member, file)
    else:
        archive.addfile(member)


def _add_folder(archive: tarfile.TarFile, place: Path) -> None:
    member = tarfile.TarInfo(_name(place))
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    archive.addfile(member)


def _name(place: Path) -> str:
    """A place in the image as layers name it: from its root on."""
    return str(place).lstrip("/") or "."


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _described(kind: str, blob: bytes) -> Mapping[str, Any]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
