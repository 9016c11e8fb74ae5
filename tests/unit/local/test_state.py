import json
from pathlib import Path

import pytest

from slipway_local.errors import LocalError
from slipway_local.settings import read_settings
from slipway_local.state import Remembered, State
from slipway_local.status import STOPPED, Phase, read_status
from slipway_local.supervisor import LONGEST_PAUSE_SECONDS, pause_seconds


@pytest.fixture
def state(tmp_path: Path):
    state = State(tmp_path / "state")
    yield state
    if state.folder.is_dir():
        state.file.unlink(missing_ok=True)


def test_choices_are_remembered(state: State) -> None:
    first = state.open()
    state.write(Remembered({"kafka": 20_001}, first.run_folder, first.postgres_folder))

    again = State(state.folder).open()

    assert again.ports == {"kafka": 20_001}
    assert again.run_folder == first.run_folder
    state.remove()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"version": 1}', "damaged"),
        ('{"version": 1, "ports": {"kafka": "x"}}', "damaged"),
        ('{"version": 99}', "another version"),
    ],
)
def test_state_that_cannot_be_read_says_what_to_do(state: State, content: str, words: str) -> None:
    state.folder.mkdir()
    state.file.write_text(content)

    with pytest.raises(LocalError, match=f"{words}.*start over"):
        state.open()


def test_removing_a_folder_that_is_no_state_folder_removes_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()

    State(tmp_path).remove()

    assert (tmp_path / "logs").is_dir()


def test_a_supervisor_that_is_gone_says_nothing_any_more(state: State) -> None:
    state.folder.mkdir()
    said = {
        "phase": "ready",
        "supervisor": {"pid": 1, "started": "an earlier life"},
        "error": "",
        "parts": [],
        "exports": {},
    }
    state.status_file.write_text(json.dumps(said))
    assert read_status(state.status_file) == STOPPED

    state.status_file.write_text(json.dumps({**said, "phase": "failed", "error": "no disk"}))
    failed = read_status(state.status_file)
    assert (failed.phase, failed.error, failed.supervisor) == (Phase.FAILED, "no disk", None)


def test_settings_come_from_the_environment_and_empty_ones_do_not_count() -> None:
    settings = read_settings(
        {
            "SLIPWAY_STATE": "/somewhere/state",
            "SLIPWAY_KAFKA_BOOTSTRAP": "broker:9092",
            "SLIPWAY_POSTGRES_DSN": " ",
            "PATH": "/bin",
            "SSL_CERT_FILE": "/roots.pem",
            "CLOUD_PASSWORD": "secret",
        }
    )

    assert settings.state_folder == Path("/somewhere/state")
    assert (settings.externals.kafka, settings.externals.postgres) == ("broker:9092", None)
    assert settings.inherited == {"PATH": "/bin", "SSL_CERT_FILE": "/roots.pem"}


def test_pauses_grow_up_to_a_limit() -> None:
    assert pause_seconds(1) <= 0.5
    assert LONGEST_PAUSE_SECONDS / 2 <= pause_seconds(100) <= LONGEST_PAUSE_SECONDS
