"""Links in the documents lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^(```|~~~).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|(?:src|srcset|href)=\"([^\"]+)\"")
ELSEWHERE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def documents() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for line in listed.splitlines() if (path := ROOT / line).is_file()]


def anchors(document: Path) -> set[str]:
    """Names of the headings, as they are made for pages of a repository."""
    headings = HEADING.findall(FENCED.sub("", document.read_text()))
    plain = (re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def targets(document: Path) -> list[str]:
    text = CODE.sub("", FENCED.sub("", document.read_text()))
    found = [first or second for first, second in LINK.findall(text)]
    return [target for target in found if not ELSEWHERE.match(target)]


def broken(document: Path) -> list[str]:
    wrong = []
    for target in targets(document):
        path, _, anchor = target.partition("#")
        meant = (document.parent / path).resolve() if path else document
        if not meant.exists() or (
            anchor and meant.suffix == ".md" and anchor not in anchors(meant)
        ):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# One two\n[a](missing.md) [b](#one-two) [c](#three) `[d](no.md)`\n")

    assert broken(document) == ["missing.md", "#three"]
