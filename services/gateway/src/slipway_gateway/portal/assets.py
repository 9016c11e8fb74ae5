"""Style, script and icon: the same for everybody, and named by what is in them."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, problem
from slipway_gateway.pages import STATIC, Pages
from slipway_gateway.portal.failures import PageRoute


def build(pages: Pages) -> APIRouter:
    router = APIRouter(route_class=PageRoute)

    @router.get(STATIC + "/{name}", response_class=Response)
    async def asset(name: str, request: Request) -> Response:
        found = pages.assets.get(name)
        if found is None:
            raise problem(Code.NOT_FOUND)
        named = request.query_params.get("v") == found.digest
        keep = "public, max-age=31536000, immutable" if named else "no-cache"
        headers = {"Cache-Control": keep, "X-Content-Type-Options": "nosniff"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    return router
