"""The last words of a runner: whole, short enough for a kubelet, and understood by the reader."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.sessions import EndReason
from slipway_runner.records import MAX_TERMINATION_BYTES, Ending, termination, write_termination

USE = SessionUse(
    memory_mib=10,
    peak_memory_mib=123,
    memory_limit_mib=None,
    cpu_seconds=4.56789,
    cpu_limit_millis=None,
    processes=2,
)


def test_it_says_why_and_what_was_used() -> None:
    said = json.loads(termination(Ending(EndReason.IDLE, "Nobody used it."), use=USE))

    assert said == {
        "reason": "idle",
        "message": "Nobody used it.",
        "peakMemoryMib": 123,
        "cpuSeconds": 4.568,
    }


@given(st.text(max_size=3000) | st.text(alphabet='\0\x01"\\\ud800é☃😀\n', max_size=3000))
def test_whatever_an_app_says_there_is_room_for_it(message: str) -> None:
    content = termination(Ending(EndReason.APP_FAILED, message), use=USE)

    assert len(content) <= MAX_TERMINATION_BYTES
    said = json.loads(content)
    assert said["reason"] == "app-failed"
    assert said["peakMemoryMib"] == 123


@pytest.mark.parametrize("letter", ["x", "é", "☃", "😀", "\x01"])
def test_as_much_is_kept_as_there_is_room_for(letter: str) -> None:
    content = termination(Ending(EndReason.APP_FAILED, letter * 5000), use=USE)

    said = json.loads(content)["message"]
    assert said.startswith(letter * 400)
    assert said.endswith("…")


def test_a_reader_never_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "termination.json"
    path.write_text("before")
    before = path.stat().st_ino

    write_termination(path, Ending(EndReason.STOPPED), use=USE)

    assert path.stat().st_ino != before
    assert json.loads(path.read_bytes())["reason"] == "stopped"
    assert [each.name for each in tmp_path.iterdir()] == ["termination.json"]


def test_a_mounted_file_is_written_into(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.write_text("x" * 5000)
    (tmp_path / "termination-log.draft").mkdir()
    before = path.stat().st_ino

    write_termination(path, Ending(EndReason.STOPPED), use=USE)

    assert path.stat().st_ino == before
    assert json.loads(path.read_bytes())["reason"] == "stopped"
