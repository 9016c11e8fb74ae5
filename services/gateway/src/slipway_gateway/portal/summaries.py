"""Where a session stands, in a headline and a sentence, with what its user can do."""

from collections.abc import Mapping
from types import MappingProxyType

from slipway_common.contracts.reasons import Words, words_of
from slipway_common.contracts.sessions import SessionKind, SessionStage
from slipway_common.contracts.views import SessionState, SessionView
from slipway_gateway.pages import ordinal

STATES: Mapping[str, str] = MappingProxyType(
    {
        SessionState.REQUESTED: "Requested",
        SessionState.QUEUED: "Queued",
        SessionState.STARTING: "Starting",
        SessionState.RUNNING: "Running",
        SessionState.STOPPING: "Stopping",
        SessionState.ENDED: "Ended",
        SessionState.FAILED: "Failed",
        SessionState.REFUSED: "Refused",
    }
)
STAGES: Mapping[str, str] = MappingProxyType(
    {
        SessionStage.WAITING_FOR_NODE: "Waiting for a machine",
        SessionStage.WAITING_FOR_PLACE: "Waiting for a place",
        SessionStage.PLACED: "Placed on a machine",
        SessionStage.PULLING_IMAGE: "Fetching its image",
        SessionStage.CONTAINER_STARTED: "Container started",
        SessionStage.RESTARTED: "Container restarted",
    }
)
KINDS: Mapping[str, str] = MappingProxyType(
    {
        SessionKind.WEBUI: "Web page",
        SessionKind.SOLVE: "Solve",
        SessionKind.TASK: "Tasks",
        SessionKind.EXTERNAL: "Service",
    }
)

_STARTING: Mapping[SessionKind, str] = MappingProxyType(
    {
        SessionKind.WEBUI: "Your app is starting",
        SessionKind.SOLVE: "Your solve session is starting",
        SessionKind.TASK: "The session for your tasks is starting",
        SessionKind.EXTERNAL: "Your service is starting",
    }
)
_READY: Mapping[SessionKind, tuple[str, str]] = MappingProxyType(
    {
        SessionKind.WEBUI: ("Your app is ready", "Open it to work with it."),
        SessionKind.SOLVE: (
            "Your solve session is ready",
            "It has no page: programs call its procedures on the session's own host.",
        ),
        SessionKind.TASK: (
            "The session for your tasks is ready",
            "It takes your tasks of this app, one after the other.",
        ),
        SessionKind.EXTERNAL: ("Your service is ready", "Open it to work with it."),
    }
)


def summarise(view: SessionView) -> Words:
    match view.state:
        case SessionState.REQUESTED:
            return _words("Your launch was received", view.message or "It gets its place now.")
        case SessionState.QUEUED:
            place = ordinal(view.queue_position) if view.queue_position else None
            return _words(
                f"{place} in the queue" if place else "Waiting in the queue",
                "All places of your account are taken. This session starts by itself as soon as "
                "one is free.",
            )
        case SessionState.STARTING:
            waits = view.stage in {SessionStage.WAITING_FOR_NODE, SessionStage.WAITING_FOR_PLACE}
            headline = STAGES[view.stage] if view.stage and waits else _STARTING[view.kind]
            return _words(headline, view.message or "This takes a few seconds.")
        case SessionState.RUNNING:
            headline, detail = _READY[view.kind]
            return _words(headline, view.message or detail)
        case SessionState.STOPPING:
            return _words("The session is being stopped", view.message or "This takes a moment.")
        case SessionState.REFUSED:
            return Words(
                "This session could not be started",
                view.message or "The account runs as many sessions as it may.",
                "Stop a session that you no longer need, or wait until another one ends.",
            )
        case SessionState.ENDED | SessionState.FAILED:
            return _why_over(view)


def _words(headline: str, detail: str) -> Words:
    return Words(headline, detail, advice="")


def _why_over(view: SessionView) -> Words:
    if view.reason is None:
        failed = view.state is SessionState.FAILED
        headline = "This session failed" if failed else "This session is over"
        return Words(headline, view.message, "Launch it again to go on.")
    words = words_of(view.reason, view.kind)
    said = view.message.strip()
    # Where all that was said is the reason once more, our own words are better.
    if not said or said.casefold().rstrip(".") == view.reason.replace("-", " "):
        return words
    return Words(words.headline, said, words.advice)
