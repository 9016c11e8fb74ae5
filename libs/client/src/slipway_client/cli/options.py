"""Options that commands share, and the client that they lead to."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

import typer

from slipway_client.cli.failures import AS_JSON, CommandError, Exit
from slipway_client.cli.profiles import ProfileFile
from slipway_client.cli.settings import read_settings
from slipway_client.client import Slipway

DEFAULT_PROFILE = "default"

_PREFIX_SIZE = 6


def _remember_json(context: typer.Context, value: bool) -> bool:
    context.meta[AS_JSON] = value
    return value


AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="One JSON document on stdout; if something goes wrong it has the problem.",
        callback=_remember_json,
        is_eager=True,
    ),
]
ProfileName = Annotated[
    str, typer.Option("--profile", help="Which of several log-ons.", metavar="NAME")
]
AppArgument = typer.Argument(
    metavar="APP[@VERSION]", help="Name of the app; its latest version if none."
)
App = Annotated[str, AppArgument]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to list, newest first.")]
SessionId = Annotated[
    str, typer.Argument(metavar="SESSION", help="Id, or the first six characters or more of it.")
]


class Identified(Protocol):
    @property
    def id(self) -> UUID: ...


IdentifiedT = TypeVar("IdentifiedT", bound=Identified)


@contextmanager
def connected(profile: str, *, anonymous: bool = False) -> Iterator[Slipway]:
    """The client for a profile, or for what the environment says."""
    settings = read_settings()
    kept = ProfileFile(settings.folder).find(profile)
    url = settings.url or (kept.url if kept else None)
    if url is None:
        raise CommandError(
            "unauthenticated",
            "You are not logged on: run slipway login, or set SLIPWAY_URL and SLIPWAY_API_KEY.",
            code=Exit.REFUSED,
        )
    key = settings.api_key
    # A key is for the platform that made it, and for no other address.
    if key is None and kept is not None and kept.url == url.rstrip("/"):
        key = kept.api_key.get_secret_value()
    if key is None and not anonymous:
        raise CommandError(
            "unauthenticated",
            f"You are not logged on to {url}: run slipway login, or set SLIPWAY_API_KEY.",
            code=Exit.REFUSED,
        )
    with client_for(url, api_key=key) as client:
        yield client


def client_for(url: str, *, api_key: str | None = None) -> Slipway:
    try:
        return Slipway(url, api_key=api_key)
    except ValueError as error:
        raise CommandError("usage", str(error), code=Exit.USAGE) from error


def resolved(text: str, items: Iterable[IdentifiedT], *, what: str) -> UUID:
    """The id itself, or the only one among the items that starts like this."""
    try:
        return UUID(text)
    except ValueError:
        prefix = text.lower()
    if len(prefix) < _PREFIX_SIZE:
        raise CommandError(
            "usage",
            f"{text!r} is no id of a {what}; give at least {_PREFIX_SIZE} characters of it.",
            code=Exit.USAGE,
        )
    found = {item.id for item in items if str(item.id).startswith(prefix)}
    match sorted(found):
        case []:
            raise CommandError(
                "not-found", f"No {what} has an id that starts with {text}.", code=Exit.NOT_FOUND
            )
        case [only]:
            return only
        case several:
            raise CommandError(
                "usage",
                f"{len(several)} {what}s have ids that start with {text}: give more of it.",
                code=Exit.USAGE,
            )


def app_and_version(text: str) -> tuple[str, str]:
    name, _, version = text.partition("@")
    return name, version or "latest"


def short(identity: Any) -> str:
    return str(identity)[:8]
