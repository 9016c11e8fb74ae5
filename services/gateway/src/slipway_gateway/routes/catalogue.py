"""Publish, and see what is published."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from slipway_common.contracts.packages import PackageKind
from slipway_common.contracts.views import AppView, Name, PackageView, RuntimeView, Version
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.identity import Identities
from slipway_gateway.routes.dependencies import (
    DEFAULT_LIMIT,
    CallerDependency,
    CursorQuery,
    LimitQuery,
    Page,
    page,
)
from slipway_gateway.streams import event_stream
from slipway_gateway.uploads import Received, Upload, UploadService

RuntimeId = Annotated[
    str, Path(pattern=r"^\d{1,5}\.\d{1,5}\.\d{1,5}\.\d{1,9}-[a-z0-9]{1,16}-[a-z0-9_]{1,16}$")
]

_ARCHIVE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def build(
    accounts: AccountsClient,
    identities: Identities,
    uploads: UploadService,
    changes: Changes,
    *,
    seal_certificate: bytes,
) -> APIRouter:
    router = APIRouter(tags=["catalogue"])

    @router.get("/seal", response_class=Response)
    async def seal() -> Response:
        return Response(seal_certificate, media_type="application/x-pem-file")

    @router.put("/apps/{name}/{version}", status_code=202, openapi_extra=_ARCHIVE)
    async def publish_app(
        name: Name, version: Version, caller: CallerDependency, request: Request, response: Response
    ) -> PackageView:
        received = await uploads.receive(caller, Upload(PackageKind.APP, name, version), request)
        return _answer(received, response)

    @router.put("/runtimes/{runtime_id}", status_code=202, openapi_extra=_ARCHIVE)
    async def publish_runtime(
        runtime_id: RuntimeId, caller: CallerDependency, request: Request, response: Response
    ) -> PackageView:
        upload = Upload(PackageKind.RUNTIME, runtime_id, runtime_id.partition("-")[0])
        return _answer(await uploads.receive(caller, upload, request), response)

    @router.get("/packages/{package_id}")
    async def package(package_id: UUID, caller: CallerDependency) -> PackageView:
        caller.require("read")
        return await accounts.package(caller.token, package_id)

    @router.get("/packages/{package_id}/events", response_class=StreamingResponse)
    async def package_events(
        package_id: UUID, caller: CallerDependency, request: Request
    ) -> StreamingResponse:
        caller.require("read")

        async def look() -> PackageView:
            again = await identities.identify(request)
            return await accounts.package(again.token, package_id)

        return event_stream(
            request, changes, table="packages", row=package_id, name="package", look=look
        )

    @router.get("/apps")
    async def apps(
        caller: CallerDependency, limit: LimitQuery = DEFAULT_LIMIT, cursor: CursorQuery = None
    ) -> Page[AppView]:
        caller.require("read")
        return await page(accounts.apps, caller.token, limit=limit, cursor=cursor)

    @router.get("/apps/{name}/{version}")
    async def app(name: Name, version: Version, caller: CallerDependency) -> AppView:
        caller.require("read")
        return await accounts.app(caller.token, name, version)

    @router.get("/runtimes")
    async def runtimes(
        caller: CallerDependency, limit: LimitQuery = DEFAULT_LIMIT, cursor: CursorQuery = None
    ) -> Page[RuntimeView]:
        caller.require("read")
        return await page(accounts.runtimes, caller.token, limit=limit, cursor=cursor)

    return router


def _answer(received: Received, response: Response) -> PackageView:
    if received.known:
        response.status_code = 200
    response.headers["Location"] = f"/api/v1/packages/{received.package.id}"
    return received.package
