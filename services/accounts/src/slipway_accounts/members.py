"""What a runner that waits in a pool may have, with no session yet: one runtime."""

from uuid import UUID

from slipway_accounts.storage import package_store
from slipway_common.contracts.internal import MemberGrant, PackageGrant
from slipway_common.contracts.problems import Code, problem
from slipway_common.postgres.database import Database


class MemberService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def runtime(self, account_id: UUID, name: str) -> MemberGrant:
        """The account's own runtime of exactly this name, if it is ready."""
        async with self._database.connection() as connection:
            row = await package_store.find_published(
                connection,
                account_id,
                kind="runtime",
                name=name,
                version=name.partition("-")[0],
            )
        if row is None:
            raise problem(Code.NOT_FOUND, "The account has no such runtime.")
        return MemberGrant(
            account_id=account_id,
            runtime=PackageGrant(
                id=row["id"],
                name=row["name"],
                version=row["name"],
                blob=row["blob"],
                sha256=row["sha256"],
                size_bytes=row["size_bytes"],
            ),
        )
