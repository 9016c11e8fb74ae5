"""Logging on and off, API keys and users."""

import re
import sys
from datetime import timedelta
from typing import Annotated, cast, get_args
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import typer
from pydantic import SecretStr

from slipway_client.cli.failures import CommandError, Exit
from slipway_client.cli.options import (
    DEFAULT_PROFILE,
    AsJson,
    ProfileName,
    client_for,
    connected,
    resolved,
    short,
)
from slipway_client.cli.output import Output
from slipway_client.cli.profiles import Profile, ProfileFile
from slipway_client.cli.settings import read_settings
from slipway_client.client import Slipway
from slipway_client.errors import SlipwayProblem
from slipway_client.transport import LOOPBACK
from slipway_common.contracts.problems import Code
from slipway_common.contracts.views import ApiKeyView, Principal, Scope

SCOPES: tuple[str, ...] = get_args(Scope)

keys = typer.Typer(no_args_is_help=True, help="API keys of your own.")
users = typer.Typer(no_args_is_help=True, help="Users of your account; for its admins.")

PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from stdin, not a prompt.")
]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help=f"What the key may do ({', '.join(SCOPES)}); repeat it."),
]
Days = Annotated[int, typer.Option("--days", min=1, max=366, help="How long the key counts.")]


def _password(from_stdin: bool, *, confirm: bool = False) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    answer: str = typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
    return answer


def _scopes(wanted: list[str]) -> tuple[Scope, ...]:
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise CommandError(
            "usage",
            f"There is no scope {unknown[0]!r}; there are {', '.join(SCOPES)}.",
            code=Exit.USAGE,
        )
    return cast("tuple[Scope, ...]", tuple(wanted))


def _scopes_of(principal: Principal) -> tuple[Scope, ...]:
    """All that a key of this user may have."""
    denied: set[Scope] = set()
    if not principal.admin:
        denied.add("admin")
    if not (principal.publisher or principal.admin):
        denied.add("publish")
    return tuple(scope for scope in principal.scopes if scope not in denied)


def _make_key(
    client: Slipway, host: str, scopes: tuple[Scope, ...], lifetime: timedelta
) -> ApiKeyView:
    name = "slipway@" + re.sub(r"[^\w.-]", "-", host)[:40]
    try:
        return client.keys.create(name, scopes=scopes, lifetime=lifetime)
    except SlipwayProblem as problem:
        if problem.slug != Code.NAME_EXISTS.slug:
            raise
        return client.keys.create(f"{name}-{uuid4().hex[:8]}", scopes=scopes, lifetime=lifetime)


def login(
    url: Annotated[
        str | None, typer.Option("--url", help="Address of the platform.", show_default=False)
    ] = None,
    account: Annotated[str | None, typer.Option("--account", show_default=False)] = None,
    user: Annotated[str | None, typer.Option("--user", show_default=False)] = None,
    scope: Scopes = None,
    days: Days = 90,
    password_stdin: PasswordStdin = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Log on: makes an API key for this computer and keeps it where only you can read it.

    The password is asked for, and not kept.
    """
    output = Output(as_json=as_json)
    settings = read_settings()
    file = ProfileFile(settings.folder)
    before = file.find(profile)
    url = url or settings.url or typer.prompt("Address of Slipway", err=True)
    account = account or typer.prompt("Account", err=True)
    user = user or typer.prompt("User", err=True)
    password = _password(password_stdin)
    with client_for(url) as client:
        if urlsplit(client.url).scheme == "http" and urlsplit(client.url).hostname not in LOOPBACK:
            output.say(f"{client.url} has no TLS: others can read what you send there.")
        principal = client.login(account=account, user=user, password=password)
        scopes = _scopes(scope) if scope else _scopes_of(principal)
        key = _make_key(client, settings.host, scopes, timedelta(days=days))
        if key.key is None:
            raise CommandError(
                "no-key", "The platform made a key and did not show it.", code=Exit.UNAVAILABLE
            )
        file.put(
            profile,
            Profile(
                url=client.url,
                account=principal.account,
                user=principal.user,
                key_id=key.id,
                api_key=SecretStr(key.key),
            ),
        )
        if before is not None and before.url == client.url:
            _revoke_quietly(client, before.key_id, output)
        client.logout()
    output.result(
        {
            "url": client.url,
            "account": principal.account,
            "user": principal.user,
            "profile": profile,
            "key_id": str(key.id),
            "scopes": list(key.scopes),
            "expires_at": key.expires_at.isoformat(),
        },
        f"Logged on to {client.url} as {principal.user} of {principal.account};"
        f" the key counts until {key.expires_at:%Y-%m-%d}.",
    )


def _revoke_quietly(client: Slipway, key_id: UUID, output: Output) -> None:
    """The key is of no more use here; that it may live on is worth no more than a word."""
    try:
        client.keys.revoke(key_id)
    except SlipwayProblem as problem:
        if problem.slug not in {Code.NOT_FOUND.slug, Code.UNAUTHENTICATED.slug}:
            output.say(f"The key {key_id} could not be revoked: {problem}")


def logout(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """Revoke this computer's key and forget it."""
    output = Output(as_json=as_json)
    file = ProfileFile(read_settings().folder)
    kept = file.find(profile)
    if kept is None:
        output.result({"profile": profile, "logged_on": False}, "You were not logged on.")
        return
    try:
        with client_for(kept.url, api_key=kept.api_key.get_secret_value()) as client:
            _revoke_quietly(client, kept.key_id, output)
    finally:
        # Whoever logs out wants the key gone from here, even if the platform is away.
        file.remove(profile)
    output.result({"profile": profile, "logged_on": False}, f"Logged out of {kept.url}.")


def whoami(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """Show who you are to the platform."""
    with connected(profile) as client:
        me = client.me()
        roles = [role for role, held in (("admin", me.admin), ("publisher", me.publisher)) if held]
        Output(as_json=as_json).result(
            {"url": client.url, **me.model_dump(mode="json")},
            f"{me.user} of {me.account} on {client.url}"
            f"{' (' + ', '.join(roles) + ')' if roles else ''};"
            f" may {', '.join(me.scopes)} until {me.expires_at:%Y-%m-%d %H:%M}.",
        )


@keys.command("list")
def list_keys(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """List your keys, without their secrets."""
    with connected(profile) as client:
        found = list(client.keys.list())
    Output(as_json=as_json).table(
        {"items": found},
        ("ID", "Name", "Scopes", "Expires"),
        [(short(k.id), k.name, " ".join(k.scopes), f"{k.expires_at:%Y-%m-%d}") for k in found],
    )


@keys.command("create")
def create_key(
    name: str,
    scope: Scopes = None,
    days: Days = 90,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it, this once."""
    with connected(profile) as client:
        scopes = _scopes(scope) if scope else _scopes_of(client.me())
        key = client.keys.create(name, scopes=scopes, lifetime=timedelta(days=days))
    output = Output(as_json=as_json)
    output.say("Keep the key now: it is not shown again.")
    output.result(key, key.key or "")


@keys.command("revoke")
def revoke_key(
    key: Annotated[str, typer.Argument(help="Id, or how it starts.")],
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Make a key count no more."""
    with connected(profile) as client:
        key_id = resolved(key, client.keys.list(), what="key")
        client.keys.revoke(key_id)
    Output(as_json=as_json).result(
        {"id": str(key_id), "revoked": True}, f"Key {short(key_id)} counts no more."
    )


@users.command("list")
def list_users(profile: ProfileName = DEFAULT_PROFILE, as_json: AsJson = False) -> None:
    """List the users of your account."""
    with connected(profile) as client:
        found = list(client.users.list())
    Output(as_json=as_json).table(
        {"items": found},
        ("ID", "Name", "Admin", "Publisher", "State"),
        [
            (
                short(user.id),
                user.name,
                "yes" if user.admin else "",
                "yes" if user.publisher else "",
                "disabled" if user.disabled else "",
            )
            for user in found
        ],
    )


@users.command("create")
def create_user(
    name: str,
    admin: Annotated[bool, typer.Option("--admin")] = False,
    publisher: Annotated[bool, typer.Option("--publisher")] = False,
    password_stdin: PasswordStdin = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Add a user; the password (12 characters or more) is asked for."""
    password = _password(password_stdin, confirm=True)
    with connected(profile) as client:
        user = client.users.create(name, password=password, admin=admin, publisher=publisher)
    Output(as_json=as_json).result(user, f"{user.name} can log on now.")


@users.command("disable")
def disable_user(
    user: Annotated[str, typer.Argument(help="Name, or id, or how it starts.")],
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Let a user log on no more, and make the user's keys count no more."""
    with connected(profile) as client:
        known = list(client.users.list())
        named = next((each.id for each in known if each.name == user), None)
        user_id = named or resolved(user, known, what="user")
        client.users.disable(user_id)
    Output(as_json=as_json).result(
        {"id": str(user_id), "disabled": True}, f"{user} can log on no more."
    )
