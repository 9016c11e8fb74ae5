"""The small web server beside every service: is it alive, can it work, how is it doing."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from slipway_common.errors import TransientError

Check = Callable[[], Awaitable[object]]
"""Fails by raising, or by returning False as brokers do."""

CHECK_TIMEOUT = timedelta(seconds=2)
"""Shorter than the probes of Kubernetes wait, so that a probe learns which check hangs."""


class Health:
    """Readiness is that every check passes, and that the service is not on its way out."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._leaving = False

    def leave(self) -> None:
        """Be unready from now on, so that no new work is sent here."""
        self._leaving = True

    async def problems(self) -> dict[str, str]:
        if self._leaving:
            return {"process": "shutting down"}
        names = list(self._checks)
        outcomes = await asyncio.gather(
            *(self._run(self._checks[name]) for name in names), return_exceptions=True
        )
        return {
            name: f"{type(outcome).__name__}: {outcome}"
            for name, outcome in zip(names, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        }

    @staticmethod
    async def _run(check: Check) -> None:
        async with asyncio.timeout(CHECK_TIMEOUT.total_seconds()):
            if await check() is False:
                raise TransientError("no answer")


def build_app(health: Health) -> Starlette:
    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive")

    async def readyz(_: Request) -> Response:
        problems = await health.problems()
        return JSONResponse(
            {"ready": not problems, "problems": problems}, status_code=503 if problems else 200
        )

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    )
