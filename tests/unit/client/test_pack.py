import hashlib
import json
import os
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from slipway_client.pack import pack
from slipway_client.packages import UnreadableArchiveError, runtime_identity, sealed_identity
from slipway_client.project import ProjectError
from slipway_common.crypto.envelope import MAGIC, Decryptor, EnvelopeError, HeaderReader
from slipway_packager.manifest import parse_app_manifest
from unit.client.conftest import SealPair


def sealed(folder: Path, seal: SealPair) -> tuple[bytes, str]:
    """The sealed bytes, and the digest of the plain archive."""
    with pack(folder) as app:
        output = BytesIO()
        app.seal(seal.certificate, output)
        return output.getvalue(), app.sha256


def opened(data: bytes, seal: SealPair, **context: str) -> bytes:
    found = HeaderReader().feed(data)
    assert found is not None
    header, rest = found
    decryptor = Decryptor(header, seal.opener.unwrap(header.key), context=context)
    return b"".join(decryptor.feed(rest)) + decryptor.finish()


def replace(folder: Path, old: str, new: str) -> None:
    path = folder / "slipway.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_sealed_app_opens_to_the_archive(project: Path, seal: SealPair) -> None:
    data, digest = sealed(project, seal)

    plain = opened(data, seal, purpose="app", name="depots", version="1.0.0")

    assert data[:8] == MAGIC
    assert hashlib.sha256(plain).hexdigest() == digest
    with zipfile.ZipFile(BytesIO(plain)) as archive:
        assert archive.namelist() == ["slipway.json", "data/stédten.json", "icon.svg", "model.py"]
        assert archive.testzip() is None
        assert archive.read("data/stédten.json") == b"[1, 2, 3]"
        assert json.loads(archive.read("slipway.json")) == {
            "schema": 1,
            "name": "depots",
            "version": "1.0.0",
            "title": "Depots",
            "description": "",
            "runtime": "1.0",
            "entry": "model:app",
            "icon": "icon.svg",
            "services": [{"name": "solve", "title": "", "description": ""}],
        }


def test_profile_goes_into_the_manifest_as_it_is_written(project: Path, seal: SealPair) -> None:
    replace(project, 'runtime = "1.0"', 'runtime = "1.0"\nprofile = "large"')

    data, _ = sealed(project, seal)

    plain = opened(data, seal, purpose="app", name="depots", version="1.0.0")
    with zipfile.ZipFile(BytesIO(plain)) as archive:
        manifest = archive.read("slipway.json")
    assert json.loads(manifest)["profile"] == "large"
    assert parse_app_manifest(manifest).profile == "large"


def test_sealed_app_opens_for_no_other_context(project: Path, seal: SealPair) -> None:
    data, _ = sealed(project, seal)

    with pytest.raises(EnvelopeError):
        opened(data, seal, purpose="app", name="depots", version="1.0.1")


def test_sealed_app_says_what_it_is(project: Path, seal: SealPair) -> None:
    data, _ = sealed(project, seal)

    assert sealed_identity(BytesIO(data)) == ("depots", "1.0.0")


def test_same_files_make_the_same_archive(project: Path, seal: SealPair) -> None:
    first, digest = sealed(project, seal)
    for path in project.rglob("*"):
        os.utime(path, (1, 1))
    (project / "model.py").chmod(0o700)
    second, again = sealed(project, seal)

    assert digest == again
    assert first != second


def test_entries_are_plain(project: Path, seal: SealPair) -> None:
    (project / "blank.txt").write_bytes(bytes(3_000_000))
    (project / "noise.bin").write_bytes(os.urandom(4096))
    (project / "empty.txt").touch()

    data, _ = sealed(project, seal)

    plain = opened(data, seal, purpose="app", name="depots", version="1.0.0")
    with zipfile.ZipFile(BytesIO(plain)) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
    assert all(not entry.flag_bits & 0x08 for entry in entries.values())
    assert all(not entry.extra and not entry.comment for entry in entries.values())
    assert {entry.date_time for entry in entries.values()} == {(1980, 1, 1, 0, 0, 0)}
    assert entries["data/stédten.json"].flag_bits & 0x0800
    stored = {name for name, e in entries.items() if e.compress_type == zipfile.ZIP_STORED}
    assert {"blank.txt", "noise.bin", "empty.txt"} <= stored
    assert entries["model.py"].compress_type == zipfile.ZIP_DEFLATED


def test_plain_archive_is_never_a_file(
    project: Path, seal: SealPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr("slipway_client.pack._IN_MEMORY", 1)

    with pack(project) as app:
        app.seal(seal.certificate, BytesIO())
        assert list(scratch.iterdir()) == []


def test_what_nobody_wants_is_left_out(project: Path) -> None:
    for name in (
        ".git/config",
        ".env",
        "__pycache__/model.pyc",
        "old.pyc",
        ".venv/x.py",
        "node_modules/x.js",
        "depots-0.9.slipway",
        "prepare.py",
        "tests/test_model.py",
        "lib/deep/er.py",
        "lib/deep/notes.txt",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    with (project / "slipway.toml").open("a") as file:
        file.write('[pack]\ninclude = ["*.py", "icon.svg", "lib/**/*.py", "data", "tests"]\n')
        file.write('exclude = ["prepare.py", "tests/"]\n')

    with pack(project) as app:
        names = [file.name for file in app.files]

    assert names == ["slipway.json", "data/stédten.json", "icon.svg", "lib/deep/er.py", "model.py"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Depots"\n', "", "slipway.toml: [app] title is missing."),
        ("[model]", "[modell]", "slipway.toml: the table [model] is missing."),
        ("[model]", "[modell]", "slipway.toml: modell is not a known key. Do you mean model?"),
        ("title =", "titel =", "[app] titel is not a known key. Do you mean title?"),
        ('"depots"', '"-depots"', "[app] name is '-depots', and must be 1 to 64 letters"),
        ('"1.0.0"', '"1 0"', "[app] version is '1 0', and must be 1 to 32 letters"),
        ('runtime = "1.0"', 'runtime = "1"', "[app] runtime is '1', and must be a release"),
        (
            'runtime = "1.0"',
            'runtime = "1.0"\nprofile = "Large"',
            "[app] profile is 'Large', and must be 1 to 32",
        ),
        ('"model:app"', '"model"', "[model] entry is 'model', and must be MODULE:OBJECT"),
        ('"model:app"', '"plan.deep:app"', "and there is no plan/deep.py."),
        ('name = "solve"', 'name = "so lve"', "[[services]] number 1: name is 'so lve'"),
        ('name = "solve"', 'title = "x"', "[[services]] number 1: name is missing."),
        ('name = "solve"', 'name = "a"\n[[services]]\nname = "a"', "has two with the name 'a'"),
        ('"icon.svg"', '"icon.gif"', "The icon icon.gif must be an SVG or a PNG file."),
        ('"icon.svg"', '"none.svg"', "The icon none.svg does not exist."),
        ("[model]", '[pack]\nexclude = ["icon.svg"]\n[model]', "icon.svg is left out by"),
        ("[model]", '[pack]\nexclude = ["model.py"]\n[model]', "entry module model.py is left out"),
        ("[model]", '[pack]\ninclude = ["**", "x*"]\n[model]', "has 'x*', which no file matches"),
        ("[model]", "[model", "slipway.toml is not TOML"),
        ('title = "Depots"', f'title = "{"x" * 121}"', "[app] title: String should have at most"),
    ],
)
def test_bad_description_is_told(project: Path, old: str, new: str, message: str) -> None:
    replace(project, old, new)

    with pytest.raises(ProjectError) as caught:
        pack(project)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"x = 1\ndef f(:\n", "lib/er.py, line 2: invalid syntax (Python 3."),
        (b"return 1\n", "lib/er.py, line 1: 'return' outside function (Python 3."),
        (b"x = '\xff'\n", "lib/er.py, line 1: "),
        (b"x = 1\0", "lib/er.py"),
    ],
)
def test_file_that_does_not_compile_is_told(project: Path, content: bytes, message: str) -> None:
    (project / "lib").mkdir()
    (project / "lib" / "er.py").write_bytes(content)

    with pytest.raises(ProjectError) as caught:
        pack(project)

    [fault] = caught.value.faults
    assert message in fault


def test_compiling_runs_nothing_and_leaves_nothing(
    project: Path, recwarn: pytest.WarningsRecorder
) -> None:
    before = {*project.rglob("*")}
    # An escape that is worth a warning is no error.
    (project / "model.py").write_text("app = '\\d'\nraise SystemExit\n")

    with pack(project):
        assert {*project.rglob("*")} == before
    assert not recwarn.list


def test_file_that_is_not_packed_need_not_compile(project: Path) -> None:
    (project / "draft.py").write_text("def f(:")
    replace(project, "[model]", '[pack]\nexclude = ["draft.py"]\n[model]')

    with pack(project) as app:
        assert "draft.py" not in [file.name for file in app.files]


def test_pattern_that_nobody_wrote_is_not_told(project: Path) -> None:
    replace(project, 'icon = "icon.svg"\n', "")
    (project / "data" / "stédten.json").unlink()
    (project / "icon.svg").unlink()
    (project / "model.py").unlink()

    with pytest.raises(ProjectError) as caught:
        pack(project)

    assert caught.value.faults == (
        "slipway.toml: [model] entry is 'model:app', and there is no model.py.",
    )


def test_bad_files_are_told_all_at_once(project: Path) -> None:
    (project / "icon.svg").write_bytes(b"x" * (256 * 1024 + 1))
    (project / "slipway.json").write_text("{}")
    (project / "link.py").symlink_to(project / "model.py")
    (project / "Model.py").write_text("")
    (project / "aux.txt").write_text("")
    (project / "a:b").write_text("")
    os.mkfifo(project / "pipe")

    with pytest.raises(ProjectError) as caught:
        pack(project)

    text = "\n".join(caught.value.faults)
    for message in (
        "The icon icon.svg has 262,145 bytes; it may have 262,144 (256 KiB).",
        "slipway.json is made from slipway.toml: remove or exclude yours.",
        "link.py is a link: put the file itself there, or exclude it.",
        "Model.py and model.py differ only in case",
        "The name 'aux.txt' cannot be used on every system",
        "The name 'a:b' cannot be used on every system",
        "pipe is not a plain file: exclude it.",
    ):
        assert message in text


def test_folder_without_description_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"has no slipway\.toml"):
        pack(tmp_path)


def test_description_in_another_encoding_is_told(project: Path) -> None:
    (project / "slipway.toml").write_bytes(b'[app]\ntitle = "\xff"\n')

    with pytest.raises(ProjectError, match="is not UTF-8"):
        pack(project)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", MAGIC, b"SLIPWAY\x01\x00\x00\x00\x02{}"])
def test_what_is_not_sealed_is_told(content: bytes) -> None:
    with pytest.raises(UnreadableArchiveError):
        sealed_identity(BytesIO(content))


def test_runtime_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "runtime.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("runtime.json", '{"schema": 1, "id": "1.0.0.1-linux64-x64"}')

    assert runtime_identity(path) == "1.0.0.1-linux64-x64"


@pytest.mark.parametrize("content", [b"", b"not a zip"])
def test_what_is_no_runtime_is_told(content: bytes) -> None:
    with pytest.raises(UnreadableArchiveError):
        runtime_identity(BytesIO(content))
