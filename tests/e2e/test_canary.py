"""The bytes of an app are readable nowhere: not while it is published, not while it runs."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from slipway_common.contracts.views import PackageState, SessionState
from support.demo import Demo
from support.waiting import wait_for

PIECE = 8 * 1024 * 1024


def _holds(path: Path, needles: list[bytes]) -> bool:
    """Read in pieces that overlap: a mapped file that shrinks meanwhile would kill the process."""
    overlap = max(map(len, needles)) - 1
    kept = b""
    with path.open("rb") as file:
        while chunk := file.read(PIECE):
            piece = kept + chunk
            if any(needle in piece for needle in needles):
                return True
            kept = piece[-overlap:]
    return False


def files_with(needles: list[bytes], folders: Iterable[Path]) -> list[Path]:
    """Every file below the folders that holds one of the needles."""
    found = []
    paths = (
        Path(parent) / name
        for folder in folders
        for parent, _, names in os.walk(folder)
        for name in names
    )
    for path in paths:
        try:
            if not path.is_file() or path.is_symlink() or not path.stat().st_size:
                continue
            if _holds(path, needles):
                found.append(path)
        except (FileNotFoundError, ValueError, PermissionError):
            continue  # gone while we looked, or emptied
    return found


@pytest.fixture
def marked(demo: Demo, probe: Path) -> tuple[Path, list[bytes]]:
    """The probe with canaries: one in its code, and one in data that does not compress."""
    word = f"canary-{os.urandom(12).hex()}"
    noise = os.urandom(4096)
    copy = demo.copy_of(probe, version="1.0.0", name="canary", **{"canary-of-the-probe-app": word})
    (copy / "data").mkdir()
    (copy / "data" / "noise.bin").write_bytes(noise)
    return copy, [word.encode(), noise[1024:1056]]


def test_an_app_is_readable_nowhere_while_it_is_published_and_run(
    demo: Demo, marked: tuple[Path, list[bytes]]
) -> None:
    folder, needles = marked
    state = demo.running.stack.state
    places = [state.folder, demo.running.stack.postgres_folder]

    assert demo.publish_app(folder).state is PackageState.READY
    session = demo.client.sessions.launch("canary")
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.RUNNING)
    demo.open_session(demo.client.sessions.ticket(session.id).url)
    assert demo.client.tasks.run("canary", "echo", {"text": "sing"}) == {"text": "sing"}

    own = {path.resolve() for path in folder.rglob("*")}
    temporary = [
        path
        for path in files_with(needles, [Path(tempfile.gettempdir())])
        if path.resolve() not in own
    ]
    assert files_with(needles, places) == []
    assert temporary == []
    demo.client.sessions.stop(session.id)


def test_the_search_finds_what_is_there_to_be_found(demo: Demo) -> None:
    state = demo.running.stack.state
    needle = os.urandom(32)
    seeded = state.logs / "seeded.log"
    seeded.write_bytes(os.urandom(100_000) + needle + os.urandom(1000))

    assert files_with([needle], [state.folder]) == [seeded]
    # What the stack wrote can be read by the search at all: names of topics stand in Kafka's files.
    assert files_with([b"slipway.uploads.v1"], [state.data("kafka")])
    seeded.unlink()
