"""Tasks from the command line: run a procedure of an app, watch it solve, keep its best result."""

import json
import sys
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from slipway_client.cli.failures import CommandError, Exit, show_problem
from slipway_client.cli.options import (
    DEFAULT_PROFILE,
    App,
    AsJson,
    Limit,
    ProfileName,
    app_and_version,
    connected,
    resolved,
    short,
)
from slipway_client.cli.output import Output
from slipway_client.cli.publishing import day
from slipway_client.client import Slipway
from slipway_client.errors import SlipwayProblem
from slipway_common.contracts.problems import Code, Problem
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import InterruptRequest, InterruptScope, TaskView

TaskId = Annotated[
    str, typer.Argument(metavar="TASK", help="Id, or the first six characters or more of it.")
]


def run(
    app: App,
    service: Annotated[str, typer.Argument(help="Procedure of the app.")],
    source: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="FILE", help="JSON object to give it; - for stdin."),
    ] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A field of the input, as JSON or else as text; repeat it."
            " A text that is JSON as well: --set 'name=\"5\"'.",
        ),
    ] = None,
    time_limit: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="How long it may take.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the result, not stdout.")
    ] = None,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Run a procedure of an app and print its result, as JSON.

    Ctrl-C stops the solver and keeps the best result so far; Ctrl-C again leaves the task alone.
    """
    output = Output(as_json=as_json)
    name, version = app_and_version(app)
    arguments = _arguments(source, fields or [])
    with connected(profile) as client:
        task = client.tasks.start(
            name,
            service,
            arguments,
            version=version,
            time_limit=None if time_limit is None else timedelta(seconds=time_limit),
        )
        task = _follow(client, task, output)
        if task.state is TaskState.FAILED:
            _show_failure(task, output)
            raise typer.Exit(Exit.FAILED)
        result = client.tasks.response(task.id)
    if task.outcome == "interrupted":
        output.say("The task was interrupted: this is the best result it had.")
    text = json.dumps(result, ensure_ascii=False, indent=2)
    if target is not None:
        target.write_text(f"{text}\n", encoding="utf-8")
        output.result({"task": task, "output": str(target)}, "")
        output.say(f"The result is in {target}.")
    else:
        output.result({"task": task, "result": result}, text)


def _arguments(source: str | None, fields: list[str]) -> dict[str, Any]:
    text = "{}"
    if source is not None:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise CommandError(
            Code.NOT_JSON.slug, f"The input is not JSON: {error}.", code=Exit.USAGE
        ) from error
    if not isinstance(arguments, dict):
        raise CommandError(
            Code.NOT_JSON.slug, "The input must be a JSON object, in braces.", code=Exit.USAGE
        )
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator or not key:
            raise CommandError("usage", f"--set {field}: write KEY=VALUE.", code=Exit.USAGE)
        arguments[key] = _value(value)
    return arguments


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _follow(client: Slipway, task: TaskView, output: Output) -> TaskView:
    asked = False
    with output.solving(f"Task {short(task.id)}: {_told(task)}") as line:
        while not task.state.over:
            try:
                for task in client.tasks.watch(task.id, after=task.revision):  # noqa: PLR1704, B020 - the newer view of it
                    fraction = task.progress.fraction if task.progress else None
                    line.show(f"Task {short(task.id)}: {_told(task)}", fraction)
            except KeyboardInterrupt:
                if asked:
                    output.say(
                        "The task goes on until it has its best result. Give it up with:"
                        f" slipway interrupt {short(task.id)} --scope execution"
                    )
                    raise
                asked = True
                output.say("Asking for the best result so far; Ctrl-C again leaves the task.")
                _interrupt(client, task, output)
    return task


def _interrupt(client: Slipway, task: TaskView, output: Output) -> None:
    try:
        client.tasks.interrupt(task.id, scope="solve")
    except SlipwayProblem as problem:
        # It ended meanwhile, or cannot be interrupted yet: both show in how it goes on.
        output.say(str(problem))


def _told(task: TaskView) -> str:
    words = [task.state.value]
    if progress := task.progress:
        if progress.message:
            words.append(progress.message)
        for label, value in (("objective", progress.objective), ("bound", progress.bound)):
            if value is not None:
                words.append(f"{label} {value:,.6g}")
        if progress.gap is not None:
            words.append(f"gap {progress.gap:.2%}")
        if progress.elapsed is not None:
            words.append(f"{progress.elapsed:.0f} s")
    return ", ".join(words)


def _show_failure(task: TaskView, output: Output) -> None:
    found = Problem.model_validate(
        {"type": "about:blank", "title": "The task failed", "status": 0, **(task.problem or {})}
    )
    show_problem(found)
    for error in (found.model_extra or {}).get("errors", ()):
        if isinstance(error, dict):
            output.say(f"- {error.get('path', '')}: {error.get('message', '')}")
    output.result({"task": task}, "")


def list_tasks(
    limit: Limit = 50, profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False
) -> None:
    """List tasks."""
    with connected(profile) as client:
        found = list(islice(client.tasks.list(), limit))
    Output(as_json=as_json).table(
        {"items": found},
        ("ID", "App", "Service", "State", "User", "Since"),
        [
            (
                short(each.id),
                f"{each.app}@{each.version}",
                each.service,
                each.outcome or each.state.value,
                each.user,
                day(each.created_at),
            )
            for each in found
        ],
    )


def interrupt(
    task: TaskId,
    scope: Annotated[
        str, typer.Option(help="solve keeps the best result so far, execution gives up.")
    ] = "solve",
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Interrupt a task."""
    if scope not in get_args(InterruptScope):
        raise CommandError("usage", "--scope is solve or execution.", code=Exit.USAGE)
    wanted = InterruptRequest.model_validate({"scope": scope}).scope
    with connected(profile) as client:
        task_id = resolved(task, client.tasks.list(), what="task")
        view = client.tasks.interrupt(task_id, scope=wanted)
    Output(as_json=as_json).result(view, f"Task {short(view.id)}: {_told(view)}")
