"""The supervisor seen from outside: launch it, wait for it, end it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from slipway_local.errors import BusyError, LocalError, tail
from slipway_local.files import locked, try_lock
from slipway_local.in_pods import InPods
from slipway_local.processes import remove_leftovers, wait_gone, wait_until
from slipway_local.state import State
from slipway_local.status import STOPPED, Phase, Status, read_status

SUPERVISOR = "supervisor"
READY_SECONDS = 1800.0
"""A first start fetches some hundred megabytes, perhaps over a slow line."""

LAUNCH_SECONDS = 60.0
STOP_SECONDS = 120.0
POLL_SECONDS = 0.1

Watch = Callable[[Status], None]


def supervisor_command(*, parts_only: bool, in_pods: InPods = InPods.NOTHING) -> list[str]:
    command = [sys.executable, "-m", "slipway_local", "supervise"]
    command += ["--parts-only"] if parts_only else []
    return command if in_pods is InPods.NOTHING else [*command, f"--in-pods={in_pods}"]


async def bring_up(
    state: State, command: Sequence[str], *, environment: dict[str, str], watch: Watch
) -> Status:
    """Launch the supervisor unless one runs, and wait until everything is ready."""
    state.open()
    # One at a time, until it is plain whose supervisor it is going to be.
    async with locked(state.launch_lock_file):
        if read_status(state.status_file).supervisor is None:
            state.status_file.unlink(missing_ok=True)
            launched = _launch(state.log(SUPERVISOR), command, environment)

            def spoke() -> bool:
                known = read_status(state.status_file)
                return known is not STOPPED or launched.poll() is not None

            await wait_until(spoke, LAUNCH_SECONDS)

    def settled() -> bool:
        status = read_status(state.status_file)
        watch(status)
        return status.supervisor is None or status.good or status.phase is Phase.FAILED

    await wait_until(settled, READY_SECONDS, poll=POLL_SECONDS)
    status = read_status(state.status_file)
    if status.good:
        return status
    if status.error:
        raise LocalError(status.error)
    log = state.log(SUPERVISOR)
    if status.supervisor is None:
        end = "\n".join(f"  {line}" for line in tail(log))
        raise LocalError(f"the supervisor has ended; the end of {log}:\n{end}")
    waiting = [f"{part.name} is {part.state}" for part in status.parts]
    raise LocalError(f"the stack is not ready in time ({', '.join(waiting)}); see {state.logs}")


async def bring_down(state: State) -> bool:
    """Stop the stack, and whatever a killed supervisor has left; False if nothing ran."""
    remembered = state.read()
    if remembered is None:
        return False
    async with locked(state.launch_lock_file):
        supervisor = read_status(state.status_file).supervisor
    if supervisor is not None:
        _terminate(supervisor.pid)
        if not await wait_gone([supervisor], STOP_SECONDS):
            raise LocalError(
                f"the supervisor (process {supervisor.pid}) does not end; see "
                f"{state.log(SUPERVISOR)}, or end it with: kill -9 {supervisor.pid}"
            )
    lock = try_lock(state.lock_file)
    if lock is None:
        raise BusyError(
            f"a stack runs in {state.folder} without a supervisor, in a test perhaps: "
            "the process that started it has to stop it"
        )
    try:
        left = await remove_leftovers(remembered.run_folder)
    finally:
        os.close(lock)
    state.status_file.unlink(missing_ok=True)
    return supervisor is not None or bool(left)


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _launch(
    log: Path, command: Sequence[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        # A session of its own: it lives on when the terminal closes.
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
