"""The table of faults names tests that there are, on the parts that they run on."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
TEXT = (ROOT / "docs" / "faults.md").read_text()
PARTS = {"kubelet", "API server", "fake", "PostgreSQL", "Kafka", "runner", "code"}
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
ENTRY = re.compile(r"(?P<parts>[A-Za-z][A-Za-z, ]*): `(?P<file>[\w/]+\.py)::(?P<test>\w+)`")
BOTH_KINDS = "integration/scheduler/test_pods.py"
"""Its tests run on the fake and on a real API server, but for those that are marked."""


def rows() -> list[list[str]]:
    cells = [line.strip("|").split(" | ") for line in TEXT.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells if len(row) == 4][1:]


def functions_in(file: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    path = TESTS / file
    tree = ast.parse(path.read_text() if path.is_file() else "")
    return {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def missing(text: str) -> list[str]:
    return [
        f"{file}::{test}" for file, test in NAMED.findall(text) if test not in functions_in(file)
    ]


def test_every_test_that_is_named_is_there() -> None:
    assert missing(TEXT) == []
    assert len(NAMED.findall(TEXT)) == TEXT.count(".py::") > 50


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_every_row_says_what_shows_it_and_on_which_part(row: list[str]) -> None:
    _, promise, shown, _ = row

    assert bool(shown) != ("**not shown" in promise)
    for line in shown.split("<br>") if shown else []:
        entry = ENTRY.fullmatch(line)
        assert entry is not None or line.startswith("the same two, at ")
        assert entry is None or set(entry["parts"].split(", ")) <= PARTS


def test_what_is_shown_on_the_fake_alone_is_called_so() -> None:
    on_the_fake = {
        name
        for name, function in functions_in(BOTH_KINDS).items()
        if any(ast.unparse(each) == "ON_THE_FAKE" for each in function.decorator_list)
    }
    for entry in ENTRY.finditer(TEXT):
        if entry["file"] == BOTH_KINDS:
            parts = "fake" if entry["test"] in on_the_fake else "API server, fake"
            assert (entry["test"], entry["parts"]) == (entry["test"], parts)


def test_a_test_that_is_not_there_is_found() -> None:
    here = "unit/test_faults_document.py"

    assert missing(f"`{here}::test_a_test_that_is_not_there_is_found`") == []
    assert missing(f"`{here}::rows`, `{here}::test_x`, `no/such.py::test_y`") == [
        f"{here}::rows",
        f"{here}::test_x",
        "no/such.py::test_y",
    ]
