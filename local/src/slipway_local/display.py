"""What people see: the progress of a start, and tables."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from slipway_local.doctor import Diagnosis
from slipway_local.part import PartState, Progress
from slipway_local.status import PartStatus, Status

COLOURS = {
    PartState.WAITING: "dim",
    PartState.PREPARING: "cyan",
    PartState.STARTING: "cyan",
    PartState.RUNNING: "green",
    PartState.EXTERNAL: "green",
    PartState.CRASHED: "yellow",
    PartState.FAILED: "red",
    PartState.STOPPED: "dim",
}
BUSY = (PartState.PREPARING, PartState.STARTING)


class ProgressDisplay:
    """A live table on a terminal; a line for each change anywhere else."""

    def __init__(self, console: Console, names: Sequence[str], *, known: Status) -> None:
        """``known`` is what need not be told again."""
        self._console = console
        self._seen = {name: Progress(name, PartState.WAITING) for name in names}
        for part in known.parts:
            self._seen[part.name] = Progress(part.name, part.state, part.detail)
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=10)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def hear(self, progress: Progress) -> None:
        if self._seen.get(progress.name) == progress:
            return
        self._seen[progress.name] = progress
        if not self._console.is_terminal:
            detail = f" ({progress.detail})" if progress.detail else ""
            self._console.print(f"{progress.name}: {progress.state}{detail}", soft_wrap=True)

    def see(self, status: Status) -> None:
        for part in status.parts:
            self.hear(Progress(part.name, part.state, part.detail))

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for progress in self._seen.values():
            mark = self._spinner if progress.state in BUSY else Text(" ")
            table.add_row(mark, progress.name, _coloured(progress.state), progress.detail)
        return table


def status_table(status: Status) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("part", "state", "address", "pid", "log"):
        # An address is there to be copied: it is never cut.
        table.add_column(heading, overflow="fold")
    for part in status.parts:
        table.add_row(
            part.name,
            _state_of(part),
            part.address,
            "" if part.pid is None else str(part.pid),
            Path(part.log).name,
        )
    return table


def doctor_table(diagnoses: Sequence[Diagnosis]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("", "needed", "found", ""):
        table.add_column(heading, overflow="fold")
    for diagnosis in diagnoses:
        mark = Text("ok", "green") if diagnosis.good else Text("missing", "red")
        table.add_row(mark, diagnosis.name, diagnosis.found, diagnosis.remark)
    return table


def _coloured(state: PartState) -> Text:
    return Text(state.value, COLOURS[state])


def _state_of(part: PartStatus) -> Text:
    text = _coloured(part.state)
    if part.restarts:
        text.append(f" (restarted {part.restarts} x)", "yellow")
    return text
