"""The apps that can be launched, and the launch itself: always a form, never a mere link."""

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Form, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import AppView, LaunchRequest, Name, ServiceView, Version
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


def tint(name: str) -> int:
    """What is shown keeps its colour for as long as it keeps its name."""
    return zlib.crc32(name.encode()) % TINTS


@dataclass(frozen=True, slots=True)
class Tile:
    app: AppView
    """The newest version: the one that a user sees first."""
    older: tuple[AppView, ...]

    @property
    def tint(self) -> int:
        return tint(self.app.name)

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


def matching(services: Iterable[ServiceView], *, words: str = "") -> tuple[ServiceView, ...]:
    """Services that have all the words; they have a category of their own."""
    wanted = words.casefold().split()
    return tuple(
        service for service in services if all(word in service_text(service) for word in wanted)
    )


def service_text(service: ServiceView) -> str:
    return f"{service.title} {service.name} services".casefold()


def _wanted(
    *, kind: SessionKind, app: str | None, version: str, service: str | None
) -> LaunchRequest:
    try:
        return LaunchRequest(kind=kind, app=app, version=version, service=service)
    except ValidationError as error:
        faults = "; ".join(fault["msg"] for fault in error.errors())
        raise problem(Code.INVALID_REQUEST, f"This was not accepted: {faults}.") from error


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
        known, offered = await asyncio.gather(all_apps(caller), accounts.services(caller.token))
        return pages.render(
            request,
            "apps.html",
            caller=caller,
            section="apps",
            categories=categories(known, words=words),
            services=matching(offered, words=words),
            empty=not known and not offered,
            service_text=service_text,
            tint=tint,
            words=words,
            new_key=new_key,
        )

    @router.get("/launch", response_class=Response)
    async def launch_what() -> Response:
        return redirect("/apps")

    @router.post("/launch", response_class=Response)
    async def launch(
        caller: CallerDependency,
        key: Key,
        kind: Annotated[SessionKind, Form()] = SessionKind.WEBUI,
        app: Annotated[Name | None, Form()] = None,
        version: Annotated[Version, Form()] = LATEST,
        service: Annotated[Name | None, Form()] = None,
    ) -> Response:
        wanted = _wanted(kind=kind, app=app, version=version, service=service)
        session = await session_service.launch(caller, wanted, key=key)
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
