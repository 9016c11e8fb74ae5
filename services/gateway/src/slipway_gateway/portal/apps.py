"""The apps that can be launched, and the launch itself: always a form, never a mere link."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, ProblemError
from slipway_common.contracts.views import AppView, LaunchRequest, Name, Version
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.identity import Caller
from slipway_gateway.pages import Link, Pages, redirect
from slipway_gateway.portal.failures import PageRoute, respond
from slipway_gateway.routes.dependencies import MAX_LIMIT, CallerDependency
from slipway_gateway.sessions import SessionService

MAX_APPS = 2000
LATEST = "latest"
OTHER = "other"
TINTS = 6

Key = Annotated[str, Form(min_length=1, max_length=128)]
Words = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class Tile:
    app: AppView
    """The newest version: the one that a user sees first."""
    older: tuple[AppView, ...]

    @property
    def tint(self) -> int:
        """Keeps its colour for as long as it keeps its name."""
        return zlib.crc32(self.app.name.encode()) % TINTS

    @property
    def letter(self) -> str:
        return (self.app.title or self.app.name)[:1].upper()

    @property
    def text(self) -> str:
        """All that a search looks at."""
        app = self.app
        versions = " ".join(version.version for version in (app, *self.older))
        return f"{app.title} {app.name} {versions} {app.category} {app.description}".casefold()


@dataclass(frozen=True, slots=True)
class Category:
    name: str
    tiles: tuple[Tile, ...]


def categories(apps: Iterable[AppView], *, words: str = "") -> tuple[Category, ...]:
    """Tiles that have all the words, by category and title; ``other`` comes last."""
    wanted = words.casefold().split()
    by_name: dict[str, list[AppView]] = {}
    for app in apps:
        by_name.setdefault(app.name, []).append(app)
    tiles = [_tile(versions) for versions in by_name.values()]
    found = [tile for tile in tiles if all(word in tile.text for word in wanted)]
    found.sort(key=_place)
    return tuple(
        Category(group[0].app.category or OTHER, tuple(group))
        for _, group in (
            (place, list(group)) for place, group in groupby(found, key=lambda t: _place(t)[:2])
        )
    )


def _tile(versions: Sequence[AppView]) -> Tile:
    newest_first = sorted(versions, key=lambda app: (app.latest, app.published_at), reverse=True)
    return Tile(newest_first[0], tuple(newest_first[1:]))


def _place(tile: Tile) -> tuple[bool, str, str]:
    category = (tile.app.category or OTHER).casefold()
    return category == OTHER, category, (tile.app.title or tile.app.name).casefold()


def new_key() -> str:
    """One for each form that is shown: sent twice, it still gives one session."""
    return str(uuid4())


def build(accounts: AccountsClient, session_service: SessionService, pages: Pages) -> APIRouter:
    router = APIRouter(route_class=PageRoute)

    async def all_apps(caller: Caller) -> list[AppView]:
        found: list[AppView] = []
        while len(found) < MAX_APPS:
            some = await accounts.apps(caller.token, limit=MAX_LIMIT, offset=len(found))
            found += some
            if len(some) < MAX_LIMIT:
                break
        return found

    @router.get("/", response_class=Response)
    async def home() -> Response:
        return redirect("/apps")

    @router.get("/apps", response_class=Response)
    async def apps(
        request: Request, caller: CallerDependency, words: Annotated[Words, Query(alias="q")] = ""
    ) -> Response:
        caller.require("read")
        known = await all_apps(caller)
        return pages.render(
            request,
            "apps.html",
            caller=caller,
            section="apps",
            categories=categories(known, words=words),
            empty=not known,
            words=words,
            new_key=new_key,
        )

    @router.get("/launch", response_class=Response)
    async def launch_what() -> Response:
        return redirect("/apps")

    @router.post("/launch", response_class=Response)
    async def launch(
        caller: CallerDependency,
        app: Annotated[Name, Form()],
        version: Annotated[Version, Form()],
        key: Key,
    ) -> Response:
        session = await session_service.launch(
            caller, LaunchRequest(app=app, version=version), key=key
        )
        return redirect(f"/sessions/{session.id}")

    async def show(request: Request, caller: Caller, name: str, version: str) -> Response:
        caller.require("read")
        try:
            found = await accounts.app(caller.token, name, version)
        except ProblemError as error:
            if error.problem.type != Code.APP_NOT_FOUND.type or version == LATEST:
                raise
            newest = await accounts.app(caller.token, name, LATEST)
            links = (
                Link(f"/launch/{newest.name}/tag/latest", f"See version {newest.version}"),
                Link("/apps", "See all apps"),
            )
            return await respond(request, error.problem, links)
        return pages.render(
            request,
            "launch.html",
            caller=caller,
            section="apps",
            tile=Tile(found, ()),
            key=new_key(),
        )

    @router.get("/launch/{name}/tag/latest", response_class=Response)
    async def latest(request: Request, caller: CallerDependency, name: Name) -> Response:
        return await show(request, caller, name, LATEST)

    @router.get("/launch/{name}/{version}", response_class=Response)
    async def one(
        request: Request, caller: CallerDependency, name: Name, version: Version
    ) -> Response:
        return await show(request, caller, name, version)

    return router
