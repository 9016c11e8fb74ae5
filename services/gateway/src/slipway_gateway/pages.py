"""HTML from the server: renders templates, and sends each page with the headers that protect it.

Whatever a template is given comes out as text. No page loads or runs anything that is not ours.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from types import MappingProxyType
from typing import Any
from uuid import UUID

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.problems import Code, Problem

STATIC = "/static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
)
_ALONE_POLICY = (
    "default-src 'none'; style-src '{style}'; form-action 'none'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages link to; its digest is part of the link, so it may be kept for ever."""

    content: bytes
    digest: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What a reader can do about a problem."""

    text: str
    again: bool = False
    """Whether the page tries again by itself."""


@dataclass(frozen=True, slots=True)
class Link:
    address: str
    label: str


_ADVICE: Mapping[str, Advice] = MappingProxyType(
    {
        code.type: advice
        for code, advice in {
            Code.UNAUTHENTICATED: Advice("Log on in the portal and open the session from there."),
            Code.KEY_EXPIRED: Advice("Make a new key on your account page."),
            Code.TICKET_INVALID: Advice(
                "A link to a session works once and for a minute. Go back to the portal and open "
                "the session again."
            ),
            Code.FORBIDDEN: Advice("If you need to do this, ask an admin of your account."),
            Code.CROSS_SITE: Advice(
                "Nothing was changed. Go to the portal yourself and try it from there."
            ),
            Code.NOT_FOUND: Advice(
                "Check the address. It may also belong to somebody else, or be gone by now."
            ),
            Code.APP_NOT_FOUND: Advice(
                "It may have been renamed or replaced. Look for it among the apps."
            ),
            Code.SERVICE_NOT_OFFERED: Advice(
                "The operator may have taken it back. Look for it among the services."
            ),
            Code.PROFILE_UNKNOWN: Advice(
                "Tell the publisher of the app, who has to name another profile."
            ),
            Code.RUNTIME_NOT_FOUND: Advice("Tell the publisher of the app, or an admin."),
            Code.SESSION_LIMIT: Advice(
                "Stop a session that you no longer need, or wait until another one ends."
            ),
            Code.SESSION_OVER: Advice("Launch the app again to get a new session."),
            Code.SESSION_NOT_READY: Advice(
                "It is still starting. This page tries again by itself.", again=True
            ),
            Code.SESSION_UNREACHABLE: Advice(
                "This page tries again by itself. If that does not help, stop the session and "
                "launch the app again.",
                again=True,
            ),
            Code.SESSION_TIMEOUT: Advice(
                "This page tries again by itself. If that does not help, stop the session and "
                "launch the app again.",
                again=True,
            ),
            Code.UNAVAILABLE: Advice(
                "Nothing is lost: sessions that run go on running. This page tries again by "
                "itself in a few seconds.",
                again=True,
            ),
            Code.INVALID_REQUEST: Advice("Go back, check what you entered, and send it again."),
            Code.KEY_REUSED: Advice("Go back, load the page again, and launch from there."),
            Code.INTERNAL: Advice(
                "Try again. If it happens again, tell an admin what you did and when."
            ),
        }.items()
    }
)
_NO_ADVICE = Advice("Go back and try again.")


class Pages:
    def __init__(self, *, public_url: str | None = None) -> None:
        """``public_url``: where a page on a session's host sends its reader; None: nowhere."""
        self._public_url = public_url
        folder = files("slipway_gateway") / "portal" / "static"
        self.assets: Mapping[str, Asset] = {
            name: _asset((folder / name).read_bytes(), media_type)
            for name, media_type in (
                ("portal.css", "text/css; charset=utf-8"),
                ("portal.js", "text/javascript; charset=utf-8"),
                ("use.js", "text/javascript; charset=utf-8"),
                ("icon.svg", "image/svg+xml"),
            )
        }
        style = (folder / "alone.css").read_text(encoding="utf-8")
        self._alone_style = Markup(style)  # noqa: S704  # our own file, with no variable in it
        hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._alone_policy = _ALONE_POLICY.format(style=f"sha256-{hashed}")
        self._templates = Environment(
            loader=PackageLoader("slipway_gateway", "portal/templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["asset"] = self._link
        self._templates.filters |= {
            "date_time": date_time,
            "clock": clock,
            "duration": duration,
            "ordinal": ordinal,
            "number": number,
            "count": count,
        }

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        forms: str = "'self'",
        **context: Any,
    ) -> Response:
        """``forms``: where forms of the page may lead, redirects included."""
        defaults = {"request": request, "caller": None, "section": "", "now": utc_now()}
        content = self._templates.get_template(template).render(defaults | context)
        headers = _HEADERS | {"Content-Security-Policy": _POLICY.format(forms=forms)}
        return HTMLResponse(content, status_code=status, headers=headers)

    def failure(
        self, request: Request, found: Problem, *, caller: Any, links: tuple[Link, ...] = ()
    ) -> Response:
        """A problem among the portal's own pages."""
        advice = _advice(found)
        response = self.render(
            request,
            "problem.html",
            status=found.status,
            caller=caller,
            found=found,
            advice=advice,
            again=advice.again and request.method == "GET",
            links=links,
        )
        _say_when(response, found)
        return response

    def problem(self, request: Request, problem: Problem) -> Response:
        """A problem on a host of which no style or script can be had: all is in the page."""
        advice = _advice(problem)
        content = self._templates.get_template("alone.html").render(
            style=self._alone_style,
            found=problem,
            advice=advice,
            again=advice.again and request.method == "GET",
            portal=self._way_back(request),
        )
        headers = _HEADERS | {
            "Content-Security-Policy": self._alone_policy,
            "Referrer-Policy": "no-referrer",
        }
        response = HTMLResponse(content, status_code=problem.status, headers=headers)
        _say_when(response, problem)
        return response

    def _way_back(self, request: Request) -> str | None:
        if self._public_url is None:
            return None
        label = request.headers.get("host", "").partition(".")[0]
        try:
            return f"{self._public_url}/sessions/{UUID(label)}"
        except ValueError:
            return f"{self._public_url}/"

    def _link(self, name: str) -> str:
        return f"{STATIC}/{name}?v={self.assets[name].digest}"


def redirect(url: str) -> RedirectResponse:
    """On to another page, asked for with GET; the address may be a secret."""
    return RedirectResponse(
        url, status_code=303, headers=_HEADERS | {"Referrer-Policy": "no-referrer"}
    )


def _asset(content: bytes, media_type: str) -> Asset:
    return Asset(content, hashlib.sha256(content).hexdigest()[:16], media_type)


def _advice(found: Problem) -> Advice:
    return _ADVICE.get(found.type, _NO_ADVICE)


def _say_when(response: Response, found: Problem) -> None:
    if found.status in {429, 503}:
        response.headers["Retry-After"] = "5"


def date_time(at: datetime) -> str:
    local = at.astimezone(UTC)
    return f"{local.day} {local:%b %Y, %H:%M} UTC"


def clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%H:%M:%S}"


def duration(lasted: timedelta) -> str:
    """The two largest units are enough for a reader."""
    exact = max(lasted.total_seconds(), 0.0)
    if exact < 10:
        return f"{exact:.1f} s"
    seconds = int(exact)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def ordinal(position: int) -> str:
    if position % 100 in {11, 12, 13}:
        return f"{position}th"
    return f"{position}{({1: 'st', 2: 'nd', 3: 'rd'}).get(position % 10, 'th')}"


def number(value: float) -> str:
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def count(many: int, one: str, more: str | None = None) -> str:
    return f"{many} {one if many == 1 else more or one + 's'}"
