"""Sessions in the words that commands share."""

from datetime import datetime

from slipway_client.cli.options import short
from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.reasons import Words, words_of
from slipway_common.contracts.sessions import SessionStage
from slipway_common.contracts.views import SessionState, SessionView

_REFUSED = Words(
    "The account runs as many sessions as it may",
    "",
    "Stop a session that you no longer need, or wait until another one ends.",
)


def clock(moment: datetime) -> str:
    return f"{moment.astimezone():%H:%M:%S}"


def told(session: SessionView) -> str:
    """How it stands, on one line."""
    place = session.queue_position
    words = [session.state.value if place is None else f"{session.state.value}, place {place}"]
    if session.stage is not None:
        words.append(_stage(session))
    elif session.message and session.message.lower() != session.state.value:
        words.append(session.message)
    return ": ".join(words)


def _stage(session: SessionView) -> str:
    assert session.stage is not None
    words = session.stage.replace("-", " ")
    if session.message and session.message.casefold() != words:
        words += f" ({session.message})"
    waits = session.stage in {SessionStage.WAITING_FOR_NODE, SessionStage.WAITING_FOR_PLACE}
    if session.expected_at is not None and waits:
        words += f", until about {clock(session.expected_at)}"
    return words


def why_over(session: SessionView) -> list[str]:
    """Why it does not run, and what to do about it."""
    words = _words_of(session)
    said = session.message or words.detail
    lines = [f"Session {short(session.id)} {session.state.value}: {words.headline}"]
    if said and said != words.headline:
        lines.append(said)
    if words.advice:
        lines.append(f"What to do: {words.advice}")
    return lines


def _words_of(session: SessionView) -> Words:
    if session.reason is not None:
        return words_of(session.reason, session.kind)
    if session.state is SessionState.REFUSED:
        return _REFUSED
    return Words(session.message or "It does not run.", "", "")


def memory(use: SessionUse) -> str:
    limit = "" if use.memory_limit_mib is None else f" of {use.memory_limit_mib:,}"
    return f"{use.memory_mib:,}{limit} MiB"


def cores(millis: float) -> str:
    figure = f"{millis / 1000:.2f}".rstrip("0").rstrip(".")
    return f"{figure} {'core' if figure == '1' else 'cores'}"
