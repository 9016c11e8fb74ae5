"""What should run, as far as it is this scheduler's: the shared table, seen by session id."""

from collections.abc import Collection
from uuid import UUID

from slipway_common.contracts.sessions import SessionWanted
from slipway_common.kafka.shards import SharedTable


class WantedSessions:
    def __init__(self, table: SharedTable) -> None:
        self._table = table

    def find(self, session_id: UUID) -> SessionWanted | None:
        row = self._table.find(str(session_id))
        return row if isinstance(row, SessionWanted) else None

    def ids(self) -> Collection[UUID]:
        return [
            row.session_id for row in self._table.rows().values() if isinstance(row, SessionWanted)
        ]

    def owns(self, session_id: UUID) -> bool:
        return self._table.owns(str(session_id))
