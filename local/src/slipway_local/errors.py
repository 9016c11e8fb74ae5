"""What can go wrong with the local stack, in words that say what to do next."""

from pathlib import Path

TAIL_LINES = 20
TAIL_BYTES = 32 * 1024


class LocalError(Exception):
    """Something that the person at the terminal can act on; shown without a traceback."""


class PartError(LocalError):
    """A part did not start, or does not do what it must."""

    def __init__(self, name: str, message: str, *, log: Path | None = None) -> None:
        self.name = name
        self.log = log
        lines = [f"{name}: {message}"]
        if log is not None:
            end = tail(log)
            if end:
                lines += ["", f"The end of {log}:", *(f"  {line}" for line in end)]
            else:
                lines.append(f"Its log {log} is empty.")
        super().__init__("\n".join(lines))


class MissingToolError(LocalError):
    """The machine lacks a program; the message names the command that installs it."""


class BusyError(LocalError):
    """Another process runs a stack in this state folder."""


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """Return the last lines of a log; empty if there is none yet."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:]
