"""A manifest is read in one way only, and whoever wrote a wrong one is told which field it is."""

import json
import random
from contextlib import suppress
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_packager.archive import ArchiveReport, Entry
from slipway_packager.judgement import judge_app
from slipway_packager.manifest import (
    AppManifest,
    InvalidManifestError,
    RuntimeId,
    SignedManifest,
    check_app,
    check_runtime,
    parse_app_manifest,
    parse_runtime_manifest,
    parse_signed_manifest,
)

APP: dict[str, Any] = {
    "schema": 1,
    "name": "depots",
    "version": "1.0.0",
    "title": "Depots",
    "description": "Where to build.\nAnd why.",
    "category": "Logistics",
    "runtime": "1.0",
    "entry": "model:app",
    "icon": "icon.svg",
    "services": [{"name": "solve", "title": "Choose depots", "description": "…"}],
}
RUNTIME: dict[str, Any] = {
    "schema": 1,
    "id": "1.0.0.1-linux64-x64",
    "title": "Open runtime",
    "command": ["{python}", "-sSP", "-m", "slipway_open"],
    "pythonPath": ["site-packages"],
}
SIGNED: dict[str, Any] = {
    "schema": 1,
    "id": "1.0.0.1-linux64-x64",
    "files": {"runtime.json": "0" * 64, "site-packages/é.py": "a" * 64},
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
SVG = b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="x"></svg>'


def app(**changes: Any) -> bytes:
    return json.dumps({**APP, **changes}).encode()


def runtime(**changes: Any) -> bytes:
    return json.dumps({**RUNTIME, **changes}).encode()


def canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def without(document: dict[str, Any], field: str) -> bytes:
    return json.dumps({key: value for key, value in document.items() if key != field}).encode()


def report(files: dict[str, bytes], captured: frozenset[str] = frozenset()) -> ArchiveReport:
    return ArchiveReport(
        entries={
            path: Entry(len(content), sha256(content).hexdigest())
            for path, content in files.items()
        },
        folders=frozenset(),
        captured={path: files[path] for path in captured},
    )


def test_app_manifest_is_read_as_written() -> None:
    manifest = parse_app_manifest(app())

    assert manifest.name == "depots"
    assert manifest.runtime == "1.0"
    assert [service.name for service in manifest.services] == ["solve"]


def test_profile_that_an_app_asks_for_becomes_a_fact_of_it() -> None:
    files = {"slipway.json": app(profile="large", icon=None), "model.py": b"app = 1"}

    facts = judge_app(report(files, frozenset({"slipway.json"})), name="depots", version="1.0.0")

    assert facts.profile == "large"


def test_only_what_has_no_default_must_be_there() -> None:
    fields = ("schema", "name", "version", "title", "runtime", "entry")

    manifest = parse_app_manifest(json.dumps({field: APP[field] for field in fields}).encode())

    assert (manifest.description, manifest.category, manifest.services) == ("", "other", ())
    assert manifest.icon is None
    assert manifest.profile == "standard"


@pytest.mark.parametrize("field", ["schema", "name", "version", "title", "runtime", "entry"])
def test_missing_field_is_named(field: str) -> None:
    with pytest.raises(InvalidManifestError, match=f"“{field}” is missing") as refusal:
        parse_app_manifest(without(APP, field))

    assert refusal.value.reason == "field-missing"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " depots"),
        ("name", "depots "),
        ("name", ".depots"),
        ("name", "a/b"),
        ("name", "dépôts"),
        ("name", "depots\n"),
        ("name", "a" * 65),
        ("name", 7),
        ("name", None),
        ("version", ""),
        ("version", "1 0"),
        ("version", "-1"),
        ("version", "1" * 33),
        ("version", 1.0),
        ("title", ""),
        ("title", "  "),
        ("title", "a" * 121),
        ("title", "two\nlines"),
        ("title", "\x1b[31m"),
        ("title", "a\u2028b"),
        ("description", "a" * 4001),
        ("description", "NUL \x00"),
        ("category", "a" * 65),
        ("category", "a\tb"),
        ("runtime", "1"),
        ("runtime", "1.0.0"),
        ("runtime", "01.0"),
        ("runtime", "1.x"),
        ("runtime", 1.0),
        ("profile", ""),
        ("profile", "Large"),
        ("profile", "very large"),
        ("profile", "-large"),
        ("profile", "large-"),
        ("profile", "a" * 33),
        ("profile", 2),
        ("profile", None),
        ("entry", "model"),
        ("entry", "model:"),
        ("entry", ":app"),
        ("entry", "model.py:app()"),
        ("entry", "../model:app"),
        ("entry", "a..b:app"),
        ("entry", "a" * 200 + ":app"),
        ("icon", ""),
        ("icon", "../icon.svg"),
        ("icon", "/icon.svg"),
        ("icon", "icons/"),
        ("icon", "a\\icon.svg"),
        ("services", {}),
        ("services", [{"name": f"s{index}"} for index in range(101)]),
        ("services", [{"name": "a"}, {"name": "b"}, {"name": "a"}]),
    ],
)
def test_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidManifestError) as refusal:
        parse_app_manifest(app(**{field: value}))

    assert refusal.value.reason == "field-invalid"
    if value != [{"name": "a"}, {"name": "b"}, {"name": "a"}]:
        assert f"“{field}”" in str(refusal.value)


@pytest.mark.parametrize(
    ("service", "field"),
    [
        ({"name": "a b"}, "services[1].name"),
        ({"name": "a" * 65}, "services[1].name"),
        ({"name": ""}, "services[1].name"),
        ({"name": "b", "title": "a\nb"}, "services[1].title"),
        ({"name": "b", "title": "a" * 121}, "services[1].title"),
        ({"name": "b", "description": "a" * 4001}, "services[1].description"),
    ],
)
def test_wrong_field_of_a_service_is_named(service: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidManifestError) as refusal:
        parse_app_manifest(app(services=[{"name": "a"}, service]))

    assert refusal.value.reason == "field-invalid"
    assert f"“{field}”" in str(refusal.value)


def test_two_services_of_one_name_are_refused_by_that_name() -> None:
    with pytest.raises(InvalidManifestError, match="two services are named solve"):
        parse_app_manifest(app(services=[{"name": "solve"}, {"name": "solve"}]))


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (app(owner="me"), "owner"),
        (app(schema_version=1), "schema_version"),
        (app(services=[{"name": "a", "public": True}]), "services[0].public"),
    ],
)
def test_unknown_field_is_named(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidManifestError) as refusal:
        parse_app_manifest(raw)

    assert refusal.value.reason == "field-unknown"
    assert f"“{field}”" in str(refusal.value)


@pytest.mark.parametrize("value", [0, 2, "1", True, 1.0, 1.5, None, [1]])
def test_other_schema_is_refused(value: object) -> None:
    with pytest.raises(InvalidManifestError) as refusal:
        parse_app_manifest(app(schema=value))

    assert refusal.value.reason == "schema-unknown"


@pytest.mark.parametrize(
    ("reason", "raw"),
    [
        ("manifest-too-large", app(description="a" * 1_100_000)),
        ("manifest-not-json", b""),
        ("manifest-not-json", b"name = 'depots'"),
        ("manifest-not-json", app()[:-1]),
        ("manifest-not-json", app() + b"{}"),
        ("manifest-not-json", b"\xef\xbb\xbf" + app()),
        ("manifest-not-json", app().decode().encode("utf-16")),
        ("manifest-not-json", app(title="x").replace(b'"x"', b'"\xff"')),
        ("manifest-not-json", app(title="x").replace(b'"x"', b'"\\ud800"')),
        ("manifest-not-json", app(title="x").replace(b'"x"', b"NaN")),
        ("manifest-not-json", app(title="x").replace(b'"x"', b"-Infinity")),
        ("manifest-not-json", app(title="x").replace(b'"x"', b"9" * 5000)),
        ("manifest-not-json", app(title="x").replace(b'"x"', b"'x'")),
        ("manifest-too-deep", b'{"a":' * 9),
        ("manifest-too-deep", b"[" * 100_000),
        ("manifest-too-deep", app(services="x").replace(b'"x"', b"[" * 8 + b"]" * 8)),
        ("manifest-duplicate-key", app()[:-1] + b', "name": "other"}'),
        ("manifest-duplicate-key", app()[:-1] + b', "n\\u0061me": "other"}'),
        ("manifest-duplicate-key", app(services="x").replace(b'"x"', b'[{"a":1,"a":2}]')),
        ("field-invalid", b"[]"),
        ("field-invalid", b"1"),
        ("field-invalid", b"null"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(reason: str, raw: bytes) -> None:
    with pytest.raises(InvalidManifestError) as refusal:
        parse_app_manifest(raw)

    assert refusal.value.reason == reason
    assert str(refusal.value).startswith("slipway.json")
    assert len(str(refusal.value)) < 400


def test_limits_of_size_and_nesting_are_still_allowed() -> None:
    assert parse_app_manifest(app().ljust(1024 * 1024))

    with pytest.raises(InvalidManifestError) as refusal:
        parse_app_manifest(app(services="x").replace(b'"x"', b"[" * 7 + b"]" * 7))

    assert refusal.value.reason == "field-invalid"


def test_brackets_in_text_are_not_nesting() -> None:
    text = '[{"\\' * 30

    assert parse_app_manifest(app(description=text)).description == text


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_noise_is_refused_as_a_manifest(noise: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        parse_app_manifest(noise)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_manifest_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(app())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    with suppress(InvalidManifestError):
        assert isinstance(parse_app_manifest(bytes(raw)), AppManifest)


class TestApp:
    @pytest.mark.parametrize(
        ("entry", "path"),
        [
            ("model:app", "model.py"),
            ("model:app", "model/__init__.py"),
            ("depots.model:app", "depots/model.py"),
        ],
    )
    def test_module_of_the_entry_is_found(self, entry: str, path: str) -> None:
        check_app(parse_app_manifest(app(entry=entry, icon=None)), report({path: b""}))

    @pytest.mark.parametrize("path", ["Model.py", "model", "src/model.py", "model/app.py"])
    def test_module_of_the_entry_must_be_there(self, path: str) -> None:
        with pytest.raises(InvalidManifestError, match=r"model/__init__\.py") as refusal:
            check_app(parse_app_manifest(app(icon=None)), report({path: b""}))

        assert refusal.value.reason == "entry-missing"

    @pytest.mark.parametrize(
        "content",
        [PNG, SVG, b"<svg>", b"\xef\xbb\xbf <svg width='1'/>", b"<!DOCTYPE svg PUBLIC 'x'>\n<svg>"],
    )
    def test_icon_may_be_svg_or_png(self, content: bytes) -> None:
        files = {"model.py": b"", "icon.svg": content}

        check_app(parse_app_manifest(app()), report(files, frozenset({"icon.svg"})))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"GIF89a",
            b"<html><svg></svg></html>",
            b"<!DOCTYPE html><svg>",
            b"<!-- <svg>",
            b"<svgx>",
            b"<script>alert(1)</script><svg>",
            b"\x89PNG\n",
            b'<!DOCTYPE svg [<!ENTITY a "b"><!ENTITY c "d">]><svg>',
        ],
    )
    def test_icon_of_another_kind_is_refused(self, content: bytes) -> None:
        files = {"model.py": b"", "icon.svg": content}

        with pytest.raises(InvalidManifestError) as refusal:
            check_app(parse_app_manifest(app()), report(files, frozenset({"icon.svg"})))

        assert refusal.value.reason == "icon-type"

    def test_icon_that_was_not_captured_is_judged_by_its_name(self) -> None:
        files = {"model.py": b"", "icon.svg": b"?", "icon.html": b"<svg>"}
        check_app(parse_app_manifest(app()), report(files))

        with pytest.raises(InvalidManifestError) as refusal:
            check_app(parse_app_manifest(app(icon="icon.html")), report(files))

        assert refusal.value.reason == "icon-type"

    def test_icon_must_be_there(self) -> None:
        with pytest.raises(InvalidManifestError) as refusal:
            check_app(parse_app_manifest(app()), report({"model.py": b""}))

        assert refusal.value.reason == "icon-missing"

    def test_icon_must_not_be_too_large(self) -> None:
        manifest = parse_app_manifest(app())
        largest = b"<svg>".ljust(256 * 1024)
        check_app(manifest, report({"model.py": b"", "icon.svg": largest}))

        with pytest.raises(InvalidManifestError) as refusal:
            check_app(manifest, report({"model.py": b"", "icon.svg": largest + b" "}))

        assert refusal.value.reason == "icon-too-large"


class TestRuntimeId:
    def test_parts_are_told_apart(self) -> None:
        identity = RuntimeId.parse("1.20.3.4567-linux64-x64")

        assert str(identity) == "1.20.3.4567-linux64-x64"
        assert (identity.release, identity.version) == ("1.20", "1.20.3.4567")
        assert identity.platform == "linux64-x64"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1.0.0-linux64-x64",
            "1.0.0.1.2-linux64-x64",
            "1.0.0.1-linux64",
            "1.0.0.1-linux64-x64-debug",
            "1.0.0.01-linux64-x64",
            "1.0.0.1-Linux64-x64",
            "1.0.0.1-linux64-x64\n",
            " 1.0.0.1-linux64-x64",
            "1.0.0.-1-linux64-x64",
            "1.0.0.\u0661-linux64-x64",
            "1.0.0.1234567890-linux64-x64",
            "../1.0.0.1-linux64-x64",
        ],
    )
    def test_other_spellings_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="MAJOR"):
            RuntimeId.parse(text)

    def test_later_is_larger_as_a_number_and_not_as_text(self) -> None:
        ids = ["1.9.0.0", "1.10.0.0", "1.10.0.9", "1.10.0.10", "1.10.2.0", "2.0.0.0", "10.0.0.0"]

        parsed = [RuntimeId.parse(f"{text}-linux64-x64") for text in ids]

        assert sorted(random.Random(3).sample(parsed, len(parsed))) == parsed

    @given(st.tuples(*[st.integers(0, 999_999_999)] * 4))
    def test_every_id_survives_being_written(self, numbers: tuple[int, int, int, int]) -> None:
        identity = RuntimeId(*numbers, "linux64", "x64")

        assert RuntimeId.parse(str(identity)) == identity


class TestRuntime:
    def test_manifest_is_read_as_written(self) -> None:
        manifest = parse_runtime_manifest(runtime())

        assert manifest.id == RuntimeId(1, 0, 0, 1, "linux64", "x64")
        assert manifest.command[0] == "{python}"
        assert manifest.python_path == ("site-packages",)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("id", "1.0"),
            ("id", 1),
            ("title", ""),
            ("command", []),
            ("command", "python"),
            ("command", [""]),
            ("command", ["a"] * 65),
            ("command", ["a\x00b"]),
            ("command", ["a\nb"]),
            ("command", ["a" * 1001]),
            ("command", ["{home}/x"]),
            ("command", ["{python"]),
            ("command", ["}"]),
            ("command", ["{}"]),
            ("pythonPath", "site-packages"),
            ("pythonPath", ["../x"]),
            ("pythonPath", ["/usr/lib"]),
            ("pythonPath", ["a:b"]),
            ("pythonPath", ["a/"]),
            ("pythonPath", ["a"] * 17),
        ],
    )
    def test_wrong_field_is_named(self, field: str, value: object) -> None:
        with pytest.raises(InvalidManifestError, match=rf"runtime\.json.*“{field}") as refusal:
            parse_runtime_manifest(runtime(**{field: value}))

        assert refusal.value.reason == "field-invalid"

    def test_field_has_one_name_only(self) -> None:
        with pytest.raises(InvalidManifestError) as refusal:
            parse_runtime_manifest(runtime(python_path=["x"]))

        assert refusal.value.reason == "field-unknown"

    def test_large_manifest_is_refused(self) -> None:
        with pytest.raises(InvalidManifestError) as refusal:
            parse_runtime_manifest(runtime() + b" " * 65_536)

        assert refusal.value.reason == "manifest-too-large"

    def test_folders_and_id_are_those_of_the_archive(self) -> None:
        check_runtime(
            parse_runtime_manifest(runtime()),
            signed=parse_signed_manifest(canonical(SIGNED)),
            report=report({"runtime.json": b"", "site-packages/a.py": b""}),
        )

    def test_folder_must_be_there(self) -> None:
        with pytest.raises(InvalidManifestError) as refusal:
            check_runtime(
                parse_runtime_manifest(runtime()),
                signed=parse_signed_manifest(canonical(SIGNED)),
                report=report({"site-packages": b"", "site-packages2/a.py": b""}),
            )

        assert refusal.value.reason == "folder-missing"

    def test_signed_id_must_be_the_same(self) -> None:
        other = canonical({**SIGNED, "id": "1.0.0.2-linux64-x64"})

        with pytest.raises(InvalidManifestError) as refusal:
            check_runtime(
                parse_runtime_manifest(runtime()),
                signed=parse_signed_manifest(other),
                report=report({"site-packages/a.py": b""}),
            )

        assert refusal.value.reason == "id-mismatch"


class TestSignedManifest:
    def test_manifest_is_read_as_written(self) -> None:
        manifest = parse_signed_manifest(canonical(SIGNED))

        assert isinstance(manifest, SignedManifest)
        assert manifest.files == SIGNED["files"]

    @pytest.mark.parametrize(
        "raw",
        [
            json.dumps(SIGNED, separators=(",", ":"), ensure_ascii=False).encode(),
            json.dumps(SIGNED, sort_keys=True, ensure_ascii=False).encode(),
            json.dumps(SIGNED, sort_keys=True, separators=(",", ":")).encode(),
            canonical(SIGNED) + b"\n",
            b" " + canonical(SIGNED),
            canonical(SIGNED).replace(b"runtime.json", b"runtime\\u002ejson"),
        ],
    )
    def test_manifest_has_one_spelling_only(self, raw: bytes) -> None:
        with pytest.raises(InvalidManifestError) as refusal:
            parse_signed_manifest(raw)

        assert refusal.value.reason == "manifest-not-canonical"

    @pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, 0, None])
    def test_digest_has_one_spelling_only(self, digest: object) -> None:
        with pytest.raises(InvalidManifestError) as refusal:
            parse_signed_manifest(canonical({**SIGNED, "files": {"a": digest}}))

        assert refusal.value.reason == "field-invalid"

    def test_file_cannot_be_listed_twice(self) -> None:
        digest = b'"' + b"0" * 64 + b'"'
        raw = canonical({**SIGNED, "files": {}}).replace(
            b"{}", b'{"a":' + digest + b',"a":' + digest + b"}"
        )

        with pytest.raises(InvalidManifestError) as refusal:
            parse_signed_manifest(raw)

        assert refusal.value.reason == "manifest-duplicate-key"
