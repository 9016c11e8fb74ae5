import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slipway_local.processes import (
    Child,
    Identity,
    identity_of,
    is_alive,
    read_record,
    write_record,
)

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_process_is_itself_and_nobody_else() -> None:
    own = identity_of(os.getpid())

    assert own is not None
    assert is_alive(own)
    assert not is_alive(Identity(own.pid, "another boot/1"))


def test_one_that_nobody_has_waited_for_is_gone_all_the_same() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert identity_of(process.pid) is None
    process.wait()


@pytest.mark.parametrize("content", ["", "{}", '{"pid": "x", "started": 1}', "[1]"])
def test_damaged_record_names_nobody(tmp_path: Path, content: str) -> None:
    record = tmp_path / "part.pid"
    record.write_text(content)

    assert read_record(record) is None


def test_record_of_a_stranger_names_nobody(tmp_path: Path) -> None:
    own = identity_of(os.getpid())
    assert own is not None

    write_record(tmp_path / "own.pid", own)
    write_record(tmp_path / "stranger.pid", Identity(own.pid, "another"))

    assert read_record(tmp_path / "own.pid") == own
    assert read_record(tmp_path / "stranger.pid") is None


async def test_child_is_recorded_while_it_runs(tmp_path: Path) -> None:
    record = tmp_path / "child.pid"
    child = Child.spawn(SLEEPER, environment={}, log=tmp_path / "log", record=record)

    assert read_record(record) == child.identity
    await child.kill()

    assert child.returncode == -signal.SIGKILL
    assert not record.exists()


async def test_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(600)"
    log = tmp_path / "log"
    child = Child.spawn([sys.executable, "-u", "-c", stubborn], environment={}, log=log)
    while not log.read_text():
        assert child.running

    await child.stop(signal_number=signal.SIGTERM, grace=0.1)

    assert child.returncode == -signal.SIGKILL
