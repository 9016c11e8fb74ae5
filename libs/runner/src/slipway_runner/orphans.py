"""Children whose parents have ended come to us, and are let go.

Nobody else would do that in a container, and what nobody lets go fills its limit of processes.
"""

import asyncio
import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

_PR_SET_CHILD_SUBREAPER = 36


def adopt() -> None:
    """Let what our children leave behind become ours, and nobody else's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


@contextmanager
def let_go(*, but: int) -> Iterator[None]:
    """Wait for every child that ends, except for the one that somebody else waits for.

    To be entered once that one has been started: nothing else can have left orphans before.
    """
    loop = asyncio.get_running_loop()

    def collect() -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid == but:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)

    loop.add_signal_handler(signal.SIGCHLD, collect)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)


def end_all() -> None:
    """Kill what came from us, in whatever group it put itself."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # gone already
            process.kill()
