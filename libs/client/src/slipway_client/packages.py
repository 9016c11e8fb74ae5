"""Packages: uploads of apps and runtimes, and what becomes of them."""

import json
import zipfile
from collections.abc import AsyncGenerator
from typing import IO
from urllib.parse import quote
from uuid import UUID

from slipway_client.feeds import watch
from slipway_client.operations import DriverT_co, Group, feed, operation
from slipway_client.transport import parsed
from slipway_client.uploads import Progress, Source, body_of, digest_header, opened
from slipway_common.contracts.views import PackageState, PackageView
from slipway_common.crypto.envelope import EnvelopeError, HeaderReader
from slipway_common.errors import PermanentError

RUNTIME_MANIFEST = "runtime.json"

_HEADER_SIZE = 64 * 1024
_MANIFEST_SIZE = 1024 * 1024


class UnreadableArchiveError(PermanentError):
    """The file is not the archive that it should be."""


def sealed_identity(source: Source) -> tuple[str, str]:
    """Name and version of the app that a sealed archive holds, as its header says."""
    with opened(source) as file:
        try:
            found = HeaderReader().feed(file.read(_HEADER_SIZE))
        except EnvelopeError as error:
            raise UnreadableArchiveError(f"This is not a sealed app: {error}.") from error
    context = found[0].context if found else {}
    if context.get("purpose") != "app" or not {"name", "version"} <= context.keys():
        raise UnreadableArchiveError("This file is not a sealed app, or it is cut off.")
    return context["name"], context["version"]


def runtime_identity(source: Source) -> str:
    """Id of the runtime that an archive holds, as its manifest says."""
    with opened(source) as file:
        try:
            with zipfile.ZipFile(file) as archive, archive.open(RUNTIME_MANIFEST) as entry:
                manifest = json.loads(entry.read(_MANIFEST_SIZE))
            identity = manifest["id"]
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise UnreadableArchiveError(
                f"This is not a runtime: it is no ZIP archive with a {RUNTIME_MANIFEST} that has"
                " an id."
            ) from error
    return str(identity)


class Packages(Group[DriverT_co]):
    @operation
    async def publish_app(
        self,
        source: Source,
        *,
        name: str | None = None,  # None: as the header of the archive says
        version: str | None = None,  # None: likewise
        progress: Progress | None = None,
    ) -> PackageView:
        """Upload a sealed app; wait for its verdict with ``watch``."""
        if name is None or version is None:
            sealed_name, sealed_version = sealed_identity(source)
            name, version = name or sealed_name, version or sealed_version
        path = f"/apps/{quote(name, safe='')}/{quote(version, safe='')}"
        with opened(source) as file:
            return await self._put(path, file, "application/octet-stream", progress)

    @operation
    async def publish_runtime(
        self,
        source: Source,
        *,
        runtime_id: str | None = None,  # None: as the manifest in the archive says
        progress: Progress | None = None,
    ) -> PackageView:
        """Upload a signed runtime; wait for its verdict with ``watch``."""
        identity = runtime_id or runtime_identity(source)
        path = f"/runtimes/{quote(identity, safe='')}"
        with opened(source) as file:
            return await self._put(path, file, "application/zip", progress)

    @operation
    async def get(self, package_id: UUID | str) -> PackageView:
        response = await self._transport.request("GET", f"/packages/{package_id}")
        return parsed(PackageView, response.content)

    @feed
    async def watch(
        self, package_id: UUID | str, *, after: int | None = None
    ) -> AsyncGenerator[PackageView, None]:
        """Give each change until the package is ready or rejected."""
        async for package in watch(
            self._transport,
            f"/packages/{package_id}/events",
            PackageView,
            event="package",
            after=after,
            over=lambda view: view.state is not PackageState.PROCESSING,
        ):
            yield package

    async def _put(
        self, path: str, file: IO[bytes], media_type: str, progress: Progress | None
    ) -> PackageView:
        response = await self._transport.request(
            "PUT",
            path,
            body=body_of(file, media_type=media_type, progress=progress),
            headers={"Repr-Digest": await digest_header(file)},
        )
        return parsed(PackageView, response.content)
