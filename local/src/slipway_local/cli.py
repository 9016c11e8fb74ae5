"""The command line of the local stack."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from slipway_local.arrangement import Arrangement
from slipway_local.cluster.commands import Commands
from slipway_local.daemon import SUPERVISOR, bring_down, bring_up, supervisor_command
from slipway_local.demo import Demo
from slipway_local.display import ProgressDisplay, doctor_table, status_table
from slipway_local.doctor import examine
from slipway_local.environment import DEMO_ACCOUNT, DEMO_ADMIN
from slipway_local.errors import LocalError, MissingToolError, tail
from slipway_local.for_pods import StackForPods
from slipway_local.hints import after_parts, look_at_pods
from slipway_local.in_pods import InPods, Sessions, refuse_another
from slipway_local.processes import environment_of
from slipway_local.secrets import Secrets
from slipway_local.settings import Settings, read_settings, repository
from slipway_local.stack import PARTS, Stack
from slipway_local.stacks import make_stack, unheard_variables, what_in_pods
from slipway_local.state import State
from slipway_local.status import STOPPED, Phase, Status, as_json, read_status
from slipway_local.supervisor import run_supervisor
from slipway_local.tools import require_all

FAILED = 1
MISSING = 3
FOLLOW_SECONDS = 0.2
UNFOLDED = 250


app = typer.Typer(
    help="The local stack: Kafka, PostgreSQL, Azurite and the services on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PartsOnly = Annotated[bool, typer.Option("--parts-only", help="Leave out our own services.")]
SessionsOption = Annotated[
    Sessions,
    typer.Option("--sessions", help="What sessions are: of this machine, or of a cluster."),
]
Lines = Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines to show.")]


@contextmanager
def _told() -> Iterator[None]:
    """Say what went wrong instead of showing where in the program."""
    try:
        yield
    except MissingToolError as error:
        _errors().print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(MISSING) from None
    except LocalError as error:
        _errors().print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from None
    except PermissionError as error:
        _errors().print(f"no right to use {error.filename}", style="red", markup=False)
        raise typer.Exit(FAILED) from None


def _console() -> Console:
    # What is not a terminal has no edge at which a table must be folded.
    return Console(highlight=False, width=None if sys.stdout.isatty() else UNFOLDED)


def _show(console: Console, headline: str, status: Status) -> None:
    console.print(headline)
    console.print(status_table(status))


def _errors() -> Console:
    return Console(stderr=True, highlight=False)


def _arrangement(settings: Settings) -> Arrangement:
    return Arrangement(settings, State(settings.state_folder), _cluster_commands, _console)


@app.command()
def up(
    *,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop everything on Ctrl-C.")
    ] = False,
    parts_only: PartsOnly = False,
    sessions: SessionsOption = Sessions.PROCESSES,
    for_pods: Annotated[
        bool,
        typer.Option(
            "--for-pods",
            help="The parts alone, where pods of the local cluster reach them: for services there.",
        ),
    ] = False,
) -> None:
    """Start what does not run yet, and return when all is ready."""
    with _told():
        settings = read_settings()
        try:
            in_pods = what_in_pods(sessions, parts_only=parts_only, for_pods=for_pods)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        arrangement = _arrangement(settings)
        console = _console()
        known = read_status(arrangement.state.status_file)
        running = known.supervisor is not None
        if running and foreground:
            raise LocalError("the stack runs already; stop it first with: down")
        if running:
            record = arrangement.record
            refuse_another(record.in_pods, in_pods)
        else:
            if unheard := unheard_variables(settings):
                console.print(
                    f"not heeded: {', '.join(unheard)} (the local stack says itself what its "
                    "services get; sessions become pods with --sessions pods)",
                    style="yellow",
                    markup=False,
                    soft_wrap=True,
                )
            require_all(Stack(settings=settings).needed_tools(), settings)
            record = arrangement.prepare(in_pods)
        stack = make_stack(settings, parts_only=parts_only, record=record)
        names = tuple(part.name for part in known.parts) if running else stack.names
        missing = [name for name in stack.names if name not in names]
        if missing:
            raise LocalError(
                f"the stack that runs was started without {', '.join(missing)}; "
                "stop it first with: down"
            )

        def ready(status: Status) -> None:
            _show(console, "The stack runs already." if running else "The stack is ready.", status)
            console.print(f"The logs lie in {stack.state.logs}.", soft_wrap=True)
            if isinstance(stack, StackForPods):
                console.print(after_parts(stack), markup=False, soft_wrap=True)

        display = ProgressDisplay(console, names, known=known if running else STOPPED)
        if foreground:
            # No live table: it would fight with what else comes to the terminal.
            run_supervisor(stack, progress=display.hear, ready=ready)
            return
        with display:
            status = asyncio.run(
                bring_up(
                    stack.state,
                    supervisor_command(parts_only=parts_only, in_pods=in_pods),
                    environment=dict(os.environ),
                    watch=display.see,
                )
            )
        ready(status)


@app.command()
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="Do the whole job, show the result, and stop.")
    ] = False,
    sessions: SessionsOption = Sessions.PROCESSES,
) -> None:
    """Start everything, publish the sample app, and tell where to log on."""
    with _told():
        settings = read_settings()
        state = State(settings.state_folder)
        ran_before = read_status(state.status_file).supervisor is not None
        try:
            up(sessions=sessions)
            _run_demo(settings, state, once=once)
        finally:
            if once and not ran_before:
                _console().print("stopping what was started")
                _bring_all_down(settings)


def _run_demo(settings: Settings, state: State, *, once: bool) -> None:
    url = read_status(state.status_file).exports["SLIPWAY_URL"].strip("'")
    console = _console()
    running = Demo(
        url,
        Secrets(state.secrets),
        repository=repository(),
        say=lambda line: console.print(line, markup=False),
    )
    try:
        running.publish()
        if once:
            _show_result(console, running.run_once())
    finally:
        running.close()
    if not once:
        record = _arrangement(settings).record
        place = record.place if record.in_pods is InPods.SESSIONS else None
        console.print(
            f"\nLog on at {url}\n  account   {DEMO_ACCOUNT}\n  user      {DEMO_ADMIN}\n"
            f"  password  {running.password}\n{look_at_pods(place, settings) if place else ''}\n"
            "Stop with `make down`; the data stays.",
            markup=False,
            soft_wrap=True,
        )


def _bring_all_down(settings: Settings) -> bool:
    """Stop the stack, and the cluster if it was started for it; False if nothing ran."""
    stopped = asyncio.run(bring_down(State(settings.state_folder)))
    return _arrangement(settings).stop_cluster() or stopped


def _show_result(console: Console, result: dict[str, Any]) -> None:
    places = ", ".join(depot["name"] for depot in result["depots"])
    console.print(
        f"result: {result['status']}, total cost {result['total_cost']:.1f},"
        f" {result['depots_open']} depots ({places})",
        markup=False,
    )


@app.command(hidden=True)
def supervise(*, parts_only: PartsOnly = False, in_pods: InPods = InPods.NOTHING) -> None:
    """Be the supervisor; `up` starts this."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with _told():
        settings = read_settings()
        record = _arrangement(settings).record
        refuse_another(record.in_pods, in_pods)
        run_supervisor(make_stack(settings, parts_only=parts_only, record=record))


@app.command()
def down() -> None:
    """Stop everything that was started; the data stays."""
    with _told():
        stopped = _bring_all_down(read_settings())
        _console().print("Stopped." if stopped else "Nothing was running.")


@app.command()
def status(
    *,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the parts. The exit status is 0 if all run, otherwise 1."""
    with _told():
        state = State(read_settings().state_folder)
        found = read_status(state.status_file)
        console = _console()
        if json:
            typer.echo(as_json(found))
        elif found.parts:
            _show(console, f"The stack is {found.phase}.", found)
            console.print(f"The logs lie in {state.logs}.", soft_wrap=True)
        else:
            console.print("Nothing is running.")
        if found.error and not json:
            _errors().print(found.error, style="red", markup=False, soft_wrap=True)
    if not found.good:
        raise typer.Exit(FAILED)


@app.command()
def doctor() -> None:
    """Tell what is needed, what is there, and how to install the rest."""
    with _told():
        diagnoses = examine(read_settings())
        _console().print(doctor_table(diagnoses))
    if not all(diagnosis.good for diagnosis in diagnoses):
        raise typer.Exit(MISSING)


@app.command()
def env(
    *,
    parts: Annotated[
        bool, typer.Option("--parts", help="Those of Kafka, PostgreSQL and Azurite as well.")
    ] = False,
) -> None:
    """Print where Slipway is as a shell export: eval "$(python -m slipway_local env)"."""
    with _told():
        found = _ready_status()
        for variable, word in found.exports.items():
            if parts or variable == "SLIPWAY_URL":
                typer.echo(f"export {variable}={word}")


@app.command(context_settings={"allow_interspersed_args": False})
def operate(
    arguments: Annotated[
        list[str], typer.Argument(metavar="COMMAND...", help="Such as: change-account --help")
    ],
) -> None:
    """Run an operator's command of accounts, in the environment that accounts runs in.

    operate create-account NAME --admin USER --password-file FILE
    """
    with _told():
        pids = [part.pid for part in _ready_status().parts if part.name == "accounts" and part.pid]
        environment = environment_of(pids[0]) if pids else {}
        # Only accounts is told this: a number that has passed on is not taken for it.
        if "SLIPWAY_ACCOUNTS_POSTGRES__DSN" not in environment:
            raise LocalError("accounts is not running; see: status")
    command = [sys.executable, "-m", "slipway_accounts", *arguments]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


def _ready_status() -> Status:
    found = read_status(State(read_settings().state_folder).status_file)
    if found.supervisor is None or found.phase is not Phase.READY:
        raise LocalError("the stack is not running; start it with: up")
    return found


@app.command()
def clean() -> None:
    """Stop everything and delete its data. The cache of downloads stays."""
    with _told():
        settings = read_settings()
        _bring_all_down(settings)
        State(settings.state_folder).remove()
        _console().print("Stopped, and the data deleted.")


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help=f"A part, a service, or {SUPERVISOR}.")],
    *,
    lines: Lines = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
) -> None:
    """Show the end of a log."""
    with _told():
        state = State(read_settings().state_folder)
        names = sorted({*PARTS, SUPERVISOR, *(log.stem for log in state.logs.glob("*.log"))})
        if name not in names:
            raise LocalError(f"there is no log {name!r}; there are: {', '.join(names)}")
        log = state.log(name)
        for line in tail(log, lines):
            typer.echo(line)
        if follow:
            _follow(log)


def _follow(log: Path) -> None:
    try:
        with log.open(errors="replace") as file:
            file.seek(0, 2)
            while True:
                sys.stdout.write(file.read())
                sys.stdout.flush()
                time.sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        return
    except FileNotFoundError:
        raise LocalError(f"{log} does not exist yet") from None


_cluster_commands = Commands(_told, _console)
app.add_typer(_cluster_commands.app(), name="cluster")
