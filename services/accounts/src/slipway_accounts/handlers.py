"""Kafka in: each event goes to the one use case that it is for."""

from faststream.kafka import KafkaBroker

from slipway_accounts.catalogue import CatalogueService
from slipway_accounts.sessions import SessionService
from slipway_common.contracts.packages import PackageReady, PackageRejected, UploadStored
from slipway_common.contracts.registry import LAUNCHES, PACKAGES, SESSIONS, UPLOADS
from slipway_common.contracts.sessions import (
    LaunchRequested,
    SessionEnded,
    SessionFailed,
    SessionProgress,
    SessionRunning,
    SessionStarting,
    StopRequested,
)

GROUP = "slipway-accounts"
"""One group per topic below this name: members of one group that read different topics would
make each other stop and join again at every start."""


AT_ONCE = 3
"""Readers of a topic with many events: each has partitions of its own, so that what belongs to one
key stays in order while others do not wait for it."""


class Handlers:
    def __init__(self, catalogue: CatalogueService, sessions: SessionService) -> None:
        self._catalogue = catalogue
        self._sessions = sessions

    async def on_upload(self, event: UploadStored) -> None:
        await self._catalogue.on_upload(event)

    async def on_package(self, event: PackageReady | PackageRejected) -> None:
        match event:
            case PackageReady():
                await self._catalogue.on_ready(event)
            case PackageRejected():
                await self._catalogue.on_rejected(event)

    async def on_launch(self, event: LaunchRequested | StopRequested) -> None:
        match event:
            case LaunchRequested():
                await self._sessions.on_launch(event)
            case StopRequested():
                await self._sessions.on_stop(event)

    async def on_session(
        self,
        event: SessionStarting | SessionProgress | SessionRunning | SessionEnded | SessionFailed,
    ) -> None:
        match event:
            case SessionStarting():
                await self._sessions.on_starting(event)
            case SessionProgress():
                await self._sessions.on_progress(event)
            case SessionRunning():
                await self._sessions.on_running(event)
            case SessionEnded() | SessionFailed():
                await self._sessions.on_over(event)


def register(broker: KafkaBroker, handlers: Handlers) -> None:
    for topic, handler, at_once in (
        (UPLOADS, handlers.on_upload, 1),
        (PACKAGES, handlers.on_package, 1),
        (LAUNCHES, handlers.on_launch, AT_ONCE),
        (SESSIONS, handlers.on_session, AT_ONCE),
    ):
        broker.subscriber(
            topic.name,
            group_id=f"{GROUP}.{topic.name}",
            max_workers=at_once,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
        )(handler)
