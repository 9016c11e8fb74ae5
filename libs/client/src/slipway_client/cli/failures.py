"""What went wrong, as words and as an exit code; never as a traceback."""

import errno
import os
import sys
from enum import IntEnum
from http import HTTPStatus
from typing import Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup
from typing_extensions import override

from slipway_client.cli.output import Output
from slipway_client.errors import SlipwayProblem, UnexpectedAnswerError, UnreachableError
from slipway_client.packages import UnreadableArchiveError
from slipway_client.project import ProjectError
from slipway_common.contracts.problems import PREFIX, Code, Problem
from slipway_common.errors import PermanentError, SlipwayError

AS_JSON = "slipway.as_json"
"""Where the context of a command keeps that JSON was asked for."""

EXIT_CODES = (
    "Exit codes: 0 done; 1 the task, package or session failed; 2 usage: arguments, files or"
    " project are not right; 3 not logged on, or refused; 4 not found; 5 conflict; 6 unreachable"
    " or unavailable; 130 interrupted."
)


class Exit(IntEnum):
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNAVAILABLE = 6
    INTERRUPTED = 130


class CommandError(PermanentError):
    """A command that cannot go on, found before the platform was asked."""

    def __init__(self, slug: str, message: str, *, code: Exit) -> None:
        super().__init__(message)
        self.slug = slug
        self.code = code


_HINTS = {
    Code.UNAUTHENTICATED.slug: "Run slipway login.",
    Code.KEY_EXPIRED.slug: "Run slipway login.",
}


def code_of(problem: Problem) -> Exit:
    match problem.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Exit.REFUSED
        case HTTPStatus.NOT_FOUND:
            return Exit.NOT_FOUND
        case HTTPStatus.CONFLICT:
            return Exit.CONFLICT
        case HTTPStatus.TOO_MANY_REQUESTS:
            return Exit.UNAVAILABLE
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Exit.UNAVAILABLE
        case _:
            return Exit.USAGE


def _local(slug: str, title: str, detail: str) -> Problem:
    return Problem(type=PREFIX + slug, title=title, status=0, detail=detail)


def judged(error: BaseException) -> tuple[Problem, Exit] | None:
    """None for what is a defect of ours."""
    match error:
        case SlipwayProblem():
            return error.problem, code_of(error.problem)
        case CommandError():
            return _local(error.slug, "This cannot be done", str(error)), error.code
        case ProjectError():
            found = _local("project-invalid", "The project cannot be packed", str(error))
            return found.model_copy(update={"faults": list(error.faults)}), Exit.USAGE
        case UnreadableArchiveError():
            return _local("archive-unreadable", "Not what was expected", str(error)), Exit.USAGE
        case UnreachableError():
            return _local("unreachable", "Slipway cannot be reached", str(error)), Exit.UNAVAILABLE
        case UnexpectedAnswerError():
            return _local("unexpected-answer", "Not Slipway", str(error)), Exit.UNAVAILABLE
        case SlipwayError():
            return _local("failed", "This cannot be done", str(error)), Exit.USAGE
        case ValidationError():
            fault = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in fault["loc"])
            return _local("usage", "An argument is not right", f"{place}: {fault['msg']}"), (
                Exit.USAGE
            )
        case OSError() if error.errno != errno.EPIPE:
            what = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or str(error)
            return _local("file", "A file cannot be used", f"{what}{reason}"), Exit.USAGE
        case _:
            return None


def show_problem(problem: Problem) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"[bold red]{escape(problem.title)}[/]")
    extra = problem.model_extra or {}
    if faults := extra.get("faults"):
        for fault in faults:
            console.print(f"- {escape(str(fault))}")
    elif problem.detail:
        console.print(escape(problem.detail))
    # What was found here, without a status, says by itself what to do.
    if problem.status and (hint := _HINTS.get(problem.type.removeprefix(PREFIX))):
        console.print(escape(hint))
    console.print(f"[dim]{escape(problem.type)}[/]")


def _fields(problem: Problem) -> dict[str, Any]:
    fields = problem.model_dump(mode="json", exclude_none=True)
    return fields if problem.status else {k: v for k, v in fields.items() if k != "status"}


class Commands(TyperGroup):
    """The one place where errors become words; under it, commands just raise."""

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):
            # A prompt that was left, like anything else that was.
            raise typer.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:
            # Whoever read along has had enough; nothing more may be flushed at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(Exit.FAILED) from None
        except Exception as error:
            found = judged(error)
            if found is None:
                raise
            problem, code = found
            show_problem(problem)
            if ctx.meta.get(AS_JSON):
                Output(as_json=True).document({"problem": _fields(problem)})
            raise typer.Exit(code) from None
