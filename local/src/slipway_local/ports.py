"""Ports of this machine, chosen so that stacks that run at the same time never meet.

They lie below the range from which the system picks ports for outgoing
connections: one that is remembered would sooner or later be taken by chance.
"""

import os
import random
import socket
from pathlib import Path

from slipway_local.errors import LocalError
from slipway_local.files import try_lock

FIRST_PORT = 20_000
LAST_PORT = 31_999
ATTEMPTS = 500
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - asked about, and at once given back


def is_free(port: int, *, host: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a closed connection that lingers does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


class Ports:
    """Ports by name. Each is claimed on the whole machine for as long as the stack runs."""

    def __init__(self, folder: Path, remembered: dict[str, int]) -> None:
        """``folder`` holds the claims and is shared by all stacks of the user."""
        self._folder = folder
        self._numbers = dict(remembered)
        self._claims: dict[int, int] = {}

    @property
    def numbers(self) -> dict[str, int]:
        return dict(self._numbers)

    def __getitem__(self, name: str) -> int:
        return self._numbers[name]

    def take(self, name: str, *, preferred: int | None = None) -> int:
        """Claim the port of this name: the remembered one if it is free, else a new one."""
        for candidate in self._candidates(name, preferred):
            # What pods reach listens everywhere, and a door may have the port of one address.
            if candidate in self._claims or not is_free(candidate, host=EVERYWHERE):
                continue
            claim = self._claim(candidate)
            if claim is not None:
                self._claims[candidate] = claim
                self._numbers[name] = candidate
                return candidate
        raise LocalError(f"no free port between {FIRST_PORT} and {LAST_PORT} for {name}")

    def release(self) -> None:
        for claim in self._claims.values():
            os.close(claim)
        self._claims.clear()

    def _candidates(self, name: str, preferred: int | None) -> list[int]:
        first = [port for port in (self._numbers.get(name), preferred) if port is not None]
        others = random.sample(range(FIRST_PORT, LAST_PORT + 1), ATTEMPTS)
        return first + others

    def _claim(self, port: int) -> int | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        return try_lock(self._folder / str(port))
