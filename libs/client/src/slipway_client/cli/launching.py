"""Sessions from the command line: launch, follow, look into, stop."""

from itertools import islice
from typing import Annotated

import typer

from slipway_client.cli.failures import Exit
from slipway_client.cli.options import (
    DEFAULT_PROFILE,
    AsJson,
    ProfileName,
    app_and_version,
    connected,
    resolved,
    short,
)
from slipway_client.cli.output import Output
from slipway_client.cli.publishing import day
from slipway_client.client import Slipway
from slipway_common.contracts.views import SessionState, SessionView

App = Annotated[
    str,
    typer.Argument(metavar="APP[@VERSION]", help="Name of the app; its latest version if none."),
]
SessionId = Annotated[
    str, typer.Argument(metavar="SESSION", help="Id, or the first six characters or more of it.")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to list, newest first.")]


def launch(
    app: App,
    wait: Annotated[bool, typer.Option(help="Follow it until it runs.")] = True,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Launch an app, and print the link that opens it: once, and within a minute."""
    output = Output(as_json=as_json)
    name, version = app_and_version(app)
    with connected(profile) as client:
        session = client.sessions.launch(name, version=version)
        if not wait:
            output.result({"session": session}, str(session.id))
            return
        session = _until_running(client, session, output)
        if session.state is not SessionState.RUNNING:
            output.result({"session": session}, "")
            output.say(_told(session))
            raise typer.Exit(Exit.FAILED)
        ticket = client.sessions.ticket(session.id)
        output.result({"session": session, "ticket": ticket}, ticket.url)
        if open_browser:
            typer.launch(ticket.url)


def _until_running(client: Slipway, session: SessionView, output: Output) -> SessionView:
    settled = {SessionState.RUNNING, SessionState.STOPPING}
    with output.line(f"Session {short(session.id)}: {_told(session)}") as line:
        try:
            while session.state not in settled and not session.state.over:
                for session in client.sessions.watch(session.id, after=session.revision):  # noqa: PLR1704, B020 - the newer view of it
                    line.say(f"Session {short(session.id)}: {_told(session)}")
                    if session.state in settled:
                        break
        except KeyboardInterrupt:
            output.say(f"The session goes on; end it with: slipway stop {short(session.id)}")
            raise
    return session


def _told(session: SessionView) -> str:
    place = session.queue_position
    words = [session.state.value if place is None else f"{session.state.value}, place {place}"]
    if session.message and session.message.lower() != session.state.value:
        words.append(session.message)
    return ": ".join(words)


def list_sessions(
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    limit: Limit = 50,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """List sessions that are not over."""
    with connected(profile) as client:
        found = list(islice(client.sessions.list(open_only=not everything), limit))
    Output(as_json=as_json).table(
        {"items": found},
        ("ID", "App", "State", "User", "Since"),
        [
            (
                short(each.id),
                f"{each.app}@{each.version}",
                _told(each),
                each.user,
                day(each.created_at),
            )
            for each in found
        ],
    )


def show_log(
    session: SessionId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it is over.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Print the log of a session."""
    output = Output(as_json=as_json)
    with connected(profile) as client:
        session_id = resolved(session, client.sessions.list(), what="session")
        if not follow:
            text = client.sessions.log(session_id)
            output.result({"id": str(session_id), "log": text}, text.removesuffix("\n"))
            return
        pieces = []
        for piece in client.sessions.follow(session_id):
            if as_json:
                pieces.append(piece)
            else:
                output.write(piece)
        if as_json:
            output.document({"id": str(session_id), "log": "".join(pieces)})


def stop(
    session: SessionId, profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False
) -> None:
    """End a session."""
    with connected(profile) as client:
        session_id = resolved(session, client.sessions.list(open_only=True), what="session")
        view = client.sessions.stop(session_id)
    # The answer shows it as it was when it was asked to end.
    told = f"Session {short(view.id)}: {_told(view)}" if view.state.over else ""
    Output(as_json=as_json).result(view, told or f"Stopping session {short(view.id)}.")
