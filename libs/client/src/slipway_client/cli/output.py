"""What a command says: results on stdout, and everything on the way there on stderr."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.status import Status
from rich.table import Table

from slipway_client.uploads import Progress as Report

Document = BaseModel | Mapping[str, Any] | Sequence[Any]


def plain(document: Any) -> Any:
    """The document in the types that JSON has."""
    match document:
        case BaseModel():
            return document.model_dump(mode="json", exclude_none=True)
        case Mapping():
            return {key: plain(value) for key, value in document.items()}
        case list() | tuple():
            return [plain(value) for value in document]
        case _:
            return document


class Line:
    """Tells how something goes on: a line that changes on a terminal, lines of a log elsewhere."""

    def __init__(self, console: Console, status: Status | None) -> None:
        self._console = console
        self._status = status
        self._last = ""

    def say(self, text: str) -> None:
        if text == self._last or not text:
            return
        self._last = text
        if self._status is None:
            self._console.print(escape(text))
        else:
            self._status.update(escape(text))


class Output:
    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    def result(self, document: Document, text: str) -> None:
        """The one thing that goes to stdout: the document, or the text for people."""
        if self.as_json:
            self.document(document)
        else:
            sys.stdout.write(f"{text}\n" if text else "")

    def document(self, document: Any) -> None:
        json.dump(plain(document), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")

    def table(
        self, document: Document, columns: Sequence[str], rows: Iterable[Sequence[str]]
    ) -> None:
        if self.as_json:
            self.document(document)
            return
        # Where nobody looks, nothing is cut off to fit a width that nobody has.
        watched = sys.stdout.isatty()
        console = Console(width=None if watched else 10_000, highlight=False)
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        console.print(table)

    def write(self, text: str) -> None:
        """Text as it comes, such as a log."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, text: str) -> None:
        self._console.print(escape(text))

    @contextmanager
    def line(self, text: str) -> Iterator[Line]:
        if not self._console.is_terminal:
            line = Line(self._console, None)
            line.say(text)
            yield line
            return
        with self._console.status(escape(text)) as status:
            yield Line(self._console, status)

    @contextmanager
    def transfer(self, text: str) -> Iterator[Report]:
        """A bar for an upload; a line where there is no terminal to draw it on."""
        if not self._console.is_terminal:
            self.say(text)
            yield lambda _sent, _size: None
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._console,
        ) as progress:
            task = progress.add_task(escape(text), total=None)
            yield lambda sent, size: progress.update(task, completed=sent, total=size)

    @contextmanager
    def solving(self, text: str) -> Iterator["SolveLine"]:
        if not self._console.is_terminal:
            line = Line(self._console, None)
            line.say(text)
            yield SolveLine(line, None)
            return
        with Progress(
            TextColumn("{task.description}"), BarColumn(), console=self._console
        ) as progress:
            yield SolveLine(Line(self._console, None), progress)


class SolveLine:
    """How far a task is: a bar with what is known of its solution."""

    def __init__(self, line: Line, progress: Progress | None) -> None:
        self._line = line
        self._progress = progress
        self._task = None if progress is None else progress.add_task("", total=None)

    def show(self, text: str, fraction: float | None) -> None:
        if self._progress is None or self._task is None:
            self._line.say(text)
        else:
            self._progress.update(
                self._task,
                description=escape(text),
                completed=fraction,
                total=None if fraction is None else 1.0,
            )
