"""Named places where a test can make this process die, to prove that nothing is lost there.

``SLIPWAY_FAILPOINTS="packager.before-commit:kill@2"`` kills the process (SIGKILL, no clean-up)
the second time it comes by. ``@/some/file`` reads the same from a file at each pass, so that a
test can arm a process that runs. Without the variable a failpoint costs one dictionary look-up.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from slipway_common.errors import SlipwayError


class FailpointSyntaxError(SlipwayError):
    """The variable cannot be read, so a test would prove nothing."""


@dataclass(slots=True)
class _Failpoint:
    passes_left: int


def parse(text: str) -> dict[str, _Failpoint]:
    points: dict[str, _Failpoint] = {}
    for part in filter(None, text.split(",")):
        name, _, action = part.partition(":")
        verb, _, count = action.partition("@")
        passes = int(count or "1") if (count or "1").isdecimal() else 0
        if not name or verb != "kill" or passes < 1:
            raise FailpointSyntaxError(f"cannot read failpoint {part!r}: expected NAME:kill[@N]")
        points[name] = _Failpoint(passes_left=passes)
    return points


_text = os.environ.get("SLIPWAY_FAILPOINTS", "")
_file = Path(_text[1:]) if _text.startswith("@") else None
_points = parse("" if _file is not None else _text)


def failpoint(name: str) -> None:
    if _file is not None and _file.exists():
        _points.update(parse(_file.read_text()))
    point = _points.get(name)
    if point is None:
        return
    point.passes_left -= 1
    if point.passes_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
