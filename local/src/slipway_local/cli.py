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

from slipway_local.cluster.commands import Commands
from slipway_local.daemon import SUPERVISOR, bring_down, bring_up, supervisor_command
from slipway_local.demo import Demo
from slipway_local.display import ProgressDisplay, doctor_table, status_table
from slipway_local.doctor import examine
from slipway_local.environment import DEMO_ACCOUNT, DEMO_ADMIN
from slipway_local.errors import LocalError, MissingToolError, tail
from slipway_local.processes import environment_of
from slipway_local.secrets import Secrets
from slipway_local.settings import Settings, read_settings, repository
from slipway_local.stack import PARTS, Stack
from slipway_local.state import State
from slipway_local.status import STOPPED, Phase, Status, as_json, read_status
from slipway_local.supervisor import run_supervisor
from slipway_local.tools import require_all

FAILED = 1
MISSING = 3
FOLLOW_SECONDS = 0.2
UNFOLDED = 250

# Where people expect a portal; another port is chosen if it is taken.
PREFERRED_PORTS = {"gateway": 8080}

app = typer.Typer(
    help="The local stack: Kafka, PostgreSQL, Azurite and the services on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PartsOnly = Annotated[bool, typer.Option("--parts-only", help="Leave out our own services.")]
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


def _stack(settings: Settings, *, parts_only: bool) -> Stack:
    if parts_only:
        return Stack(settings=settings, services=())
    return Stack(settings=settings, preferred_ports=PREFERRED_PORTS)


@app.command()
def up(
    *,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, and stop everything on Ctrl-C.")
    ] = False,
    parts_only: PartsOnly = False,
) -> None:
    """Start what does not run yet, and return when all is ready."""
    with _told():
        settings = read_settings()
        stack = _stack(settings, parts_only=parts_only)
        console = _console()
        known = read_status(stack.state.status_file)
        running = known.supervisor is not None
        if running and foreground:
            raise LocalError("the stack runs already; stop it first with: down")
        if not running:
            require_all(stack.needed_tools(), settings)
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

        display = ProgressDisplay(console, names, known=known if running else STOPPED)
        if foreground:
            # No live table: it would fight with what else comes to the terminal.
            run_supervisor(stack, progress=display.hear, ready=ready)
            return
        with display:
            status = asyncio.run(
                bring_up(
                    stack.state,
                    supervisor_command(parts_only=parts_only),
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
) -> None:
    """Start everything, publish the sample app, and tell where to log on."""
    with _told():
        settings = read_settings()
        state = State(settings.state_folder)
        ran_before = read_status(state.status_file).supervisor is not None
        up(foreground=False, parts_only=False)
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
            if once and not ran_before:
                asyncio.run(bring_down(state))
    if not once:
        console.print(
            f"\nLog on at {url}\n  account   {DEMO_ACCOUNT}\n  user      {DEMO_ADMIN}\n"
            f"  password  {running.password}\n\nStop with `make down`; the data stays.",
            markup=False,
        )


def _show_result(console: Console, result: dict[str, Any]) -> None:
    places = ", ".join(depot["name"] for depot in result["depots"])
    console.print(
        f"result: {result['status']}, total cost {result['total_cost']:.1f},"
        f" {result['depots_open']} depots ({places})",
        markup=False,
    )


@app.command(hidden=True)
def supervise(*, parts_only: PartsOnly = False) -> None:
    """Be the supervisor; `up` starts this."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with _told():
        run_supervisor(_stack(read_settings(), parts_only=parts_only))


@app.command()
def down() -> None:
    """Stop everything that was started; the data stays."""
    with _told():
        stopped = asyncio.run(bring_down(State(read_settings().state_folder)))
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
        state = State(read_settings().state_folder)
        asyncio.run(bring_down(state))
        state.remove()
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


app.add_typer(Commands(_told, _console).app(), name="cluster")
