"""What every scheduler can say about node pools: it reads what the leader writes down."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from slipway_scheduler.nodes.estimate import estimate
from slipway_scheduler.nodes.records import Record, Records
from slipway_scheduler.nodes.specs import PoolSpec


class Outlook:
    def __init__(self, records: Records, specs: Sequence[PoolSpec]) -> None:
        self._records = records
        self._specs = {spec.name: spec for spec in specs}
        self._read: dict[str, Record] = {}
        self._own: Mapping[str, Record] | None = None

    def share(self, book: Mapping[str, Record] | None) -> None:
        """From now on go by these records, which we write ourselves; None: read them again."""
        self._own = book

    async def refresh(self) -> None:
        """Once every few seconds, on every scheduler."""
        for pool in self._specs if self._own is None else ():
            record = await self._records.read(pool)
            if record is not None:
                self._read[pool] = record

    def says(self, pool: str) -> str:
        """Why nothing is done about those who wait; for operators, as it may quote the cloud."""
        return self._record(pool).says

    def estimate(self, pool: str | None, now: datetime) -> datetime | None:
        """When a node of the pool will be there, None if nobody can say.

        None as pool is any that takes sessions which name none.
        """
        open_to_all = [spec.name for spec in self._specs.values() if not spec.dedicated]
        found = (self._of(name, now) for name in (open_to_all if pool is None else [pool]))
        return min((at for at in found if at is not None), default=None)

    def _of(self, pool: str, now: datetime) -> datetime | None:
        record = self._record(pool)
        return estimate(
            boots=record.boots,
            asked=record.asked,
            retry_at=record.retry_at,
            full=record.full,
            now=now,
        )

    def _record(self, pool: str) -> Record:
        book = self._read if self._own is None else self._own
        return book.get(pool, Record())
