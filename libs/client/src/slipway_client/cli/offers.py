"""What the operator offers, and what the account allows."""

from typing import Annotated

import typer

from slipway_client.cli.failures import CommandError, Exit
from slipway_client.cli.options import DEFAULT_PROFILE, AsJson, ProfileName, connected
from slipway_client.cli.output import Output
from slipway_client.cli.words import cores
from slipway_common.contracts.views import AccountView, Range

account = typer.Typer(no_args_is_help=True, help="What your account allows; for its admins.")

Seconds = Annotated[int | None, typer.Option(metavar="SECONDS", show_default=False)]


def list_services(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """List the services that can be launched with slipway launch --service."""
    with connected(profile) as client:
        found = list(client.services.list())
    Output(as_json=as_json).table(
        {"items": found}, ("Service", "Title"), [(each.name, each.title) for each in found]
    )


def list_profiles(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """List the resource profiles that an app may name in its slipway.toml."""
    with connected(profile) as client:
        found = list(client.profiles.list())
    Output(as_json=as_json).table(
        {"items": found},
        ("Profile", "Memory", "Processor", "Processes", "Disk"),
        [
            (
                each.name,
                f"{each.memory_mib:,} MiB",
                cores(each.cpu_millis),
                str(each.processes),
                f"{each.disk_mib:,} MiB",
            )
            for each in found
        ],
    )


@account.command("show")
def show_account(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """Show the limits of your account."""
    with connected(profile) as client:
        view = client.limits.get()
    _show(view, as_json=as_json)


@account.command("set")
def change_account(
    webui_idle: Seconds = None,
    solve_idle: Seconds = None,
    task_idle: Seconds = None,
    max_session: Seconds = None,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Set after how many seconds idle sessions end, and sessions in any case.

    It counts for the sessions that start from then on.
    """
    if all(value is None for value in (webui_idle, solve_idle, task_idle, max_session)):
        raise CommandError("usage", "Say what to set, such as --task-idle 120.", code=Exit.USAGE)
    with connected(profile) as client:
        view = client.limits.change(
            webui_idle_seconds=webui_idle,
            solve_idle_seconds=solve_idle,
            task_idle_seconds=task_idle,
            max_session_seconds=max_session,
        )
    _show(view, as_json=as_json)


def _show(view: AccountView, *, as_json: bool) -> None:
    idle, longest = _words(view.idle_range), _words(view.max_session_range)
    Output(as_json=as_json).table(
        view,
        ("Limit", "Value", "May be"),
        [
            ("sessions at once", str(view.session_limit), "set by the operator"),
            ("above that", "wait" if view.queues else "refused", "set by the operator"),
            ("--webui-idle", f"{view.webui_idle_seconds} s", idle),
            ("--solve-idle", f"{view.solve_idle_seconds} s", idle),
            ("--task-idle", f"{view.task_idle_seconds} s", idle),
            ("--max-session", f"{view.max_session_seconds} s", longest),
        ],
    )


def _words(allowed: Range) -> str:
    return f"{allowed.lowest:,} to {allowed.highest:,} s"
