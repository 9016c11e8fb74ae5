"""The runtimes that are published, as the catalogue's topic tells."""

from collections.abc import Iterable
from uuid import UUID

from slipway_common.contracts.base import Event
from slipway_common.contracts.packages import PackageKind, PackagePublished
from slipway_common.contracts.registry import CATALOGUE
from slipway_common.kafka.table import CompactedTable
from slipway_common.settings import KafkaSettings


class PublishedRuntimes:
    def __init__(self, kafka: KafkaSettings) -> None:
        self._table = CompactedTable(kafka, CATALOGUE, on_change=self._on_change)

    async def run(self) -> None:
        await self._table.run()

    def __call__(self) -> Iterable[tuple[UUID, str]] | None:
        """Account and id of each; None until all have been read."""
        if not self._table.caught_up.is_set():
            return None
        return [
            (row.account_id, row.name)
            for row in self._table.rows.values()
            if isinstance(row, PackagePublished) and row.kind is PackageKind.RUNTIME
        ]

    def _on_change(self, _: str, __: Event | None) -> None:
        """Pools look for themselves, every second."""
