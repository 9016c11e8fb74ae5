"""Turns an exception of an app's code into a problem and into a traceback for the log.

Both show the app's files by their names in the archive; a path of the machine is shortened to
what follows the library folder.
"""

import os
import sys
import sysconfig
import traceback
from collections.abc import Collection
from pathlib import Path

from slipway_open.problems import (
    AppNotLoadableError,
    InfeasibleError,
    InputInvalidError,
    NoSolutionError,
    Problem,
    ProblemType,
)


def machine_folders() -> list[str]:
    """Give the folders whose names say something about the machine, longest first."""
    folders = {
        str(Path(__file__).parent.parent),
        str(Path.cwd()),
        str(Path.home()),
        sys.prefix,
        sys.base_prefix,
        *sysconfig.get_paths().values(),
        *(entry for entry in sys.path if os.path.isabs(entry)),  # noqa: PTH117 - text, not a file
    }
    return sorted((folder for folder in folders if len(folder) > 1), key=len, reverse=True)


def without_machine_paths(text: str, folders: Collection[str]) -> str:
    for folder in folders:
        text = text.replace(f"{folder.rstrip('/')}/", "").replace(folder, ".")
    return text


def place_of(error: BaseException, app_files: Collection[str]) -> str | None:
    """Name the innermost line of the app that the exception came through."""
    if isinstance(error, SyntaxError) and error.filename in app_files:
        return f"{error.filename}, line {error.lineno}"
    place = None
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename in app_files:
            place = f"{frame.filename}, line {frame.lineno}"
    return place


def text_of(error: BaseException) -> str:
    """Give the message of an exception, whose class may be the app's and fail at that."""
    try:
        return str(error)
    except Exception:
        return ""


def describe(error: BaseException, app_files: Collection[str]) -> str:
    """Say what happened and where in the app, in one line."""
    message = error.msg if isinstance(error, SyntaxError) else text_of(error)
    name = type(error).__name__
    text = without_machine_paths(f"{name}: {message}" if message else name, machine_folders())
    place = place_of(error, app_files)
    return f"{text} ({place})" if place else text


def format_failure(error: BaseException, app_files: Collection[str]) -> str:
    """Format the traceback from the app's first frame on; the engine's own are of no use."""
    formatted = traceback.TracebackException.from_exception(error)
    frames = list(formatted.stack)
    first = next((n for n, frame in enumerate(frames) if frame.filename in app_files), 0)
    formatted.stack = traceback.StackSummary.from_list(frames[first:])
    return without_machine_paths("".join(formatted.format()), machine_folders())


def problem_of(error: Exception, app_files: Collection[str]) -> Problem:
    """Say how a procedure that raised has failed."""
    match error:
        case InputInvalidError():
            return Problem(
                type=ProblemType.INPUT_INVALID,
                title="The input is not valid",
                detail=str(error),
                errors=tuple(error.errors),
            )
        case InfeasibleError():
            return Problem(
                type=ProblemType.INFEASIBLE,
                title="There is no feasible solution",
                detail=str(error),
            )
        case NoSolutionError(interrupted=True):
            return interrupted_problem(str(error))
        case NoSolutionError():
            return Problem(
                type=ProblemType.NO_SOLUTION, title="No solution was found", detail=str(error)
            )
        case _:
            return Problem(
                type=ProblemType.PROCEDURE_FAILED,
                title="The procedure failed",
                detail=describe(error, app_files),
            )


def interrupted_problem(detail: str) -> Problem:
    return Problem(
        type=ProblemType.INTERRUPTED, title="The procedure was interrupted", detail=detail
    )


def loading_problem(error: BaseException, app_files: Collection[str]) -> Problem:
    """Say why an app could not be loaded."""
    detail = str(error) if isinstance(error, AppNotLoadableError) else describe(error, app_files)
    return Problem(
        type=ProblemType.APP_NOT_LOADABLE,
        title="The app cannot be loaded",
        detail=detail,
        status=500,
    )
