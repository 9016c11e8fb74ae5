"""Modules come from the archive in memory, and a traceback knows their lines."""

import io
import sys
import traceback
import zipfile

import pytest

from slipway_open.archive import AppArchive
from slipway_open.failures import describe, format_failure
from slipway_open.importer import ArchiveImporter
from slipway_open.problems import AppNotLoadableError


def archive(files: dict[str, str]) -> AppArchive:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, text in files.items():
            target.writestr(name, text)
    return AppArchive(buffer.getvalue())


@pytest.fixture
def importer_of():
    installed = []

    def make(files: dict[str, str]) -> ArchiveImporter:
        importer = ArchiveImporter(archive(files))
        importer.install()
        installed.append(importer)
        return importer

    yield make
    for importer in installed:
        importer.uninstall()


def test_entry_may_use_packages_of_the_archive(importer_of) -> None:
    importer = importer_of(
        {
            "shop_model.py": "from shop.prices import price\nanswer = price()",
            "shop/__init__.py": "",
            "shop/prices.py": "from . import rates\ndef price(): return rates.RATE * 2",
            "shop/rates.py": "RATE = 21",
        }
    )

    assert importer.load("shop_model:answer") == 42
    assert sys.modules["shop.prices"].__file__ == "shop/prices.py"


def test_traceback_shows_the_line_of_the_archive(importer_of) -> None:
    source = "def fail(value):\n    return 1 / value\n"
    importer = importer_of({"broken_model.py": source})
    fail = importer.load("broken_model:fail")

    with pytest.raises(ZeroDivisionError) as caught:
        fail(0)

    assert "return 1 / value" in "".join(traceback.format_exception(caught.value))
    text = describe(caught.value, {"broken_model.py"})
    assert text == "ZeroDivisionError: division by zero (broken_model.py, line 2)"
    assert format_failure(caught.value, {"broken_model.py"}).count("File ") == 1


def test_syntax_error_names_its_line(importer_of) -> None:
    importer = importer_of({"typo_model.py": "x = 1\ny = = 2\n"})

    with pytest.raises(SyntaxError) as caught:
        importer.load("typo_model:x")

    assert describe(caught.value, {"typo_model.py"}).endswith("(typo_model.py, line 2)")


@pytest.mark.parametrize("name", ["random.py", "json/__init__.py", "slipway_open.py"])
def test_name_that_python_has_already_is_refused(name: str) -> None:
    with pytest.raises(AppNotLoadableError, match="rename it"):
        ArchiveImporter(archive({name: ""})).install()


@pytest.mark.parametrize("entry", ["absent_model:app", "present_model:absent"])
def test_entry_that_is_not_there_is_named(importer_of, entry: str) -> None:
    importer = importer_of({"present_model.py": ""})

    with pytest.raises(AppNotLoadableError, match="absent"):
        importer.load(entry)


def test_bytes_that_are_no_archive_are_refused() -> None:
    with pytest.raises(AppNotLoadableError, match="not a ZIP"):
        AppArchive(b"no archive")
