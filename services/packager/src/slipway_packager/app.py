"""The packager, put together: builds everything, wires everything, and nothing else."""

from contextlib import AsyncExitStack

from cryptography import x509
from faststream.kafka import KafkaBroker

from slipway_common import health, process
from slipway_common.blobs.store import BlobStore
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.packages import UploadStored
from slipway_common.contracts.registry import UPLOADS
from slipway_common.crypto.keys import FileKeyRing, SealOpener
from slipway_common.kafka.broker import build_broker, ensure_topics, start_producer
from slipway_common.kafka.publisher import Publisher
from slipway_common.settings import read_secret
from slipway_packager.archive import ArchiveLimits
from slipway_packager.packages import PackageService
from slipway_packager.settings import Settings

GROUP = "slipway-packager"
MAX_POLL_INTERVAL_MS = 30 * 60 * 1000
"""A large archive is judged in one go; the group must not take it away meanwhile."""


def register(broker: KafkaBroker, packages: PackageService) -> None:
    async def on_upload(event: UploadStored) -> None:
        await packages.judge(event)

    broker.subscriber(
        UPLOADS.name,
        group_id=GROUP,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=1500,
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
    )(on_upload)


async def start(settings: Settings, stack: AsyncExitStack) -> None:
    blobs = BlobStore(read_secret(settings.blobs.connection_string_file).get_secret_value())
    stack.push_async_callback(blobs.close)
    await ensure_topics(settings.kafka)
    producer = await start_producer(settings.kafka, service="packager")
    stack.push_async_callback(producer.stop)
    packages = PackageService(
        Vault(blobs, FileKeyRing(settings.keys_folder)),
        Publisher(producer),
        opener=SealOpener(
            settings.seal_certificate_file.read_bytes(), settings.seal_key_file.read_bytes()
        ),
        vendor_roots=x509.load_pem_x509_certificates(settings.vendor_roots_file.read_bytes()),
        # A runtime lists each of its files in one manifest, which is kept for its signature.
        limits=ArchiveLimits(capture_size=4 * 1024 * 1024),
    )
    broker = build_broker(settings.kafka, service="packager")
    register(broker, packages)
    await broker.start()
    stack.push_async_callback(broker.stop)
    probes = health.Health({"kafka": lambda: broker.ping(timeout=1.5), "blobs": blobs.check})
    await stack.enter_async_context(
        process.serve(
            health.build_app(probes), host=settings.health.host, port=settings.health.port
        )
    )
