"""All commands together."""

from collections.abc import Callable

import stamina.instrumentation
import typer
from stamina.instrumentation import RetryDetails

from slipway_client.cli import accounts, launching, looking, offers, publishing, tasking
from slipway_client.cli.failures import EXIT_CODES, Commands
from slipway_client.cli.output import Output


def build() -> typer.Typer:
    app = typer.Typer(
        name="slipway",
        cls=Commands,
        no_args_is_help=True,
        help="Publish optimisation apps and run them.",
        epilog=EXIT_CODES,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root() -> None:
        # A callback keeps the sub-commands what they are even if there were only one.
        stamina.instrumentation.set_on_retry_hooks([_tell_retry])

    commands: dict[str, Callable[..., None]] = {
        "login": accounts.login,
        "logout": accounts.logout,
        "whoami": accounts.whoami,
        "pack": publishing.pack_folder,
        "publish": publishing.publish,
        "apps": publishing.list_apps,
        "runtimes": publishing.list_runtimes,
        "launch": launching.launch,
        "services": offers.list_services,
        "profiles": offers.list_profiles,
        "sessions": looking.list_sessions,
        "logs": looking.show_log,
        "use": looking.show_use,
        "stop": launching.stop,
        "run": tasking.run,
        "tasks": tasking.list_tasks,
        "interrupt": tasking.interrupt,
    }
    for name, command in commands.items():
        app.command(name, epilog=EXIT_CODES)(command)
    app.add_typer(accounts.keys, name="keys", epilog=EXIT_CODES)
    app.add_typer(accounts.users, name="users", epilog=EXIT_CODES)
    app.add_typer(offers.account, name="account", epilog=EXIT_CODES)
    return app


def _tell_retry(details: RetryDetails) -> None:
    if details.wait_for >= 1:
        why = str(details.caused_by).rstrip(".")
        Output(as_json=False).say(f"{why}; again in {details.wait_for:.0f} s")


def main() -> None:
    build()()
