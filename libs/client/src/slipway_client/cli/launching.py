"""Launch and stop sessions from the command line."""

from enum import StrEnum
from typing import Annotated

import typer

from slipway_client.cli.failures import CommandError, Exit
from slipway_client.cli.options import (
    DEFAULT_PROFILE,
    AppArgument,
    AsJson,
    ProfileName,
    SessionId,
    app_and_version,
    connected,
    resolved,
    short,
)
from slipway_client.cli.output import Output
from slipway_client.cli.words import told, why_over
from slipway_client.client import Slipway
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import SessionState, SessionView


class AppKind(StrEnum):
    WEBUI = SessionKind.WEBUI.value
    SOLVE = SessionKind.SOLVE.value


MaybeApp = Annotated[str | None, AppArgument]
Kind = Annotated[
    AppKind,
    typer.Option(help="webui shows the app's page; solve runs its procedures one by one."),
]
Service = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Launch a service of the operator's in place of an app."),
]


def launch(
    app: MaybeApp = None,
    kind: Kind = AppKind.WEBUI,
    service: Service = None,
    wait: Annotated[bool, typer.Option(help="Follow it until it runs.")] = True,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Launch an app or a service, and print the link that opens it: once, and within a minute."""
    if (app is None) == (service is None):
        raise CommandError("usage", "Name either an app or a --service.", code=Exit.USAGE)
    if service is not None and kind is not AppKind.WEBUI:
        raise CommandError("usage", "--kind is for apps, not for services.", code=Exit.USAGE)
    output = Output(as_json=as_json)
    with connected(profile) as client:
        session = _asked_for(client, app, SessionKind(kind.value), service)
        if not wait:
            output.result({"session": session}, str(session.id))
            return
        session = _until_running(client, session, output)
        if session.state is not SessionState.RUNNING:
            output.result({"session": session}, "")
            for line in why_over(session):
                output.say(line)
            raise typer.Exit(Exit.FAILED)
        ticket = client.sessions.ticket(session.id)
        output.result({"session": session, "ticket": ticket}, ticket.url)
        if open_browser:
            typer.launch(ticket.url)


def _asked_for(
    client: Slipway, app: str | None, kind: SessionKind, service: str | None
) -> SessionView:
    if service is not None:
        return client.sessions.launch_service(service)
    name, version = app_and_version(app or "")
    return client.sessions.launch(name, version=version, kind=kind)


def _until_running(client: Slipway, session: SessionView, output: Output) -> SessionView:
    settled = {SessionState.RUNNING, SessionState.STOPPING}
    with output.line(f"Session {short(session.id)}: {told(session)}") as line:
        try:
            while session.state not in settled and not session.state.over:
                for session in client.sessions.watch(session.id, after=session.revision):  # noqa: PLR1704, B020 - the newer view of it
                    if session.state in settled or session.state.over:
                        break
                    line.say(f"Session {short(session.id)}: {told(session)}")
        except KeyboardInterrupt:
            output.say(f"The session goes on; end it with: slipway stop {short(session.id)}")
            raise
    return session


def stop(
    session: SessionId, profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False
) -> None:
    """End a session."""
    with connected(profile) as client:
        session_id = resolved(session, client.sessions.list(open_only=True), what="session")
        view = client.sessions.stop(session_id)
    # The answer shows it as it was when it was asked to end.
    said = f"Session {short(view.id)}: {told(view)}" if view.state.over else ""
    Output(as_json=as_json).result(view, said or f"Stopping session {short(view.id)}.")
