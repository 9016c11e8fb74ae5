"""A publisher at a terminal: log in, publish, launch, run, read the log, stop."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.demo import Demo


class CommandLine:
    def __init__(self, demo: Demo, home: Path) -> None:
        self._program = str(demo.repository / ".venv/bin/slipway")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "LANG": "C.UTF-8",
        }

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def slipway(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(demo, tmp_path_factory.mktemp("home"))
    done = command.run(
        *("login", "--url", demo.url, "--account", "demo", "--user", "admin"),
        "--password-stdin",
        stdin=demo.password,
    )
    assert done.returncode == 0, done.stderr
    assert demo.password not in done.stdout + done.stderr
    return command


def test_an_app_is_published_from_its_folder(demo: Demo, slipway: CommandLine, probe: Path) -> None:
    folder = demo.copy_of(probe, version="1.0.0", name="terminal")

    done = slipway.run("publish", str(folder))
    assert done.returncode == 0, done.stderr
    again = slipway.run("publish", str(folder))
    assert again.returncode == 0, again.stderr

    (folder / "model.py").write_text((folder / "model.py").read_text() + "\n# changed\n")
    changed = slipway.run("publish", str(folder))
    assert changed.returncode == 5
    assert "version" in changed.stderr.lower()
    assert "Traceback" not in changed.stderr


def test_a_task_is_run_and_its_result_printed(slipway: CommandLine) -> None:
    assert slipway.json("run", "probe", "echo", "--set", "text=hello")["result"] == {
        "text": "hello"
    }

    failed = slipway.run("run", "probe", "raises")
    assert failed.returncode == 1
    assert "the model divides by zero" in failed.stderr


def test_a_session_is_launched_listed_read_and_stopped(slipway: CommandLine) -> None:
    launched = slipway.json("launch", "probe")
    session_id = launched.get("id") or launched["session"]["id"]

    listed = slipway.run("sessions", "--json")
    assert session_id in listed.stdout
    assert slipway.run("logs", session_id[:8]).returncode == 0
    assert slipway.run("stop", session_id[:8]).returncode == 0


def test_what_is_wrong_has_its_exit_code_and_no_traceback(slipway: CommandLine) -> None:
    for arguments, code in (
        (("launch", "no-such-app"), 4),
        (("run", "probe", "no-such-service"), 4),
        (("publish", "no-such-folder"), 2),
        (("nonsense",), 2),
    ):
        done = slipway.run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
