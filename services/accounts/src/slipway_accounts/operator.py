"""What only the operator of an installation may do: make and list accounts, set their limits.

``python -m slipway_accounts create-account NAME --admin USER --password-file FILE``
"""

import argparse
import sys
from pathlib import Path

from slipway_accounts import admission, app, identity
from slipway_accounts.offers import Offers
from slipway_accounts.settings import Settings
from slipway_accounts.storage import account_store, identity_store
from slipway_common.blobs.store import BlobStore
from slipway_common.contracts.views import UserRequest
from slipway_common.crypto.keys import FileKeyRing
from slipway_common.postgres.database import Database
from slipway_common.settings import read_secret


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slipway_accounts")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create-account", help="make an account with its first admin")
    create.add_argument("name")
    create.add_argument("--admin", required=True, help="name of its first user")
    create.add_argument("--password-file", required=True, type=Path)
    commands.add_parser("list-accounts", help="print id and name of each account")
    change = commands.add_parser("change-account", help="set the limits of an account")
    change.add_argument("name")
    for command in (create, change):
        command.add_argument("--session-limit", type=int, help="concurrent sessions")
        command.add_argument(
            "--queue",
            action=argparse.BooleanOptionalAction,
            default=None,
            help="let launches above the limit wait, or refuse them",
        )
    return parser


async def change_account(
    database: Database,
    name: str,
    *,
    session_limit: int | None,
    queues: bool | None,
    offers: Offers,
) -> bool:
    """Set what is not None, and start at once what a higher limit lets in.

    False if there is no such account.
    """
    async with database.transaction() as tx:
        account_id = await identity_store.change_account(
            tx, name, session_limit=session_limit, queues=queues
        )
        if account_id is None:
            return False
        limits = await account_store.lock(tx, account_id)
        await admission.admit(tx, account_id, limits=limits, offers=offers)
    return True


async def run(settings: Settings, offers: Offers, arguments: list[str]) -> int:
    """Exit code: 0 done, 1 nothing was changed."""
    options = _parser().parse_args(arguments)
    database = await Database.connect(settings.postgres, service="operator")
    blobs = BlobStore(read_secret(settings.blobs.connection_string_file).get_secret_value())
    try:
        await app.upgrade(database)
        if options.command == "list-accounts":
            async with database.connection() as connection:
                for row in await identity_store.list_accounts(connection):
                    sys.stdout.write(f"{row['id']}  {row['name']}\n")
            return 0
        if options.command == "create-account":
            done = await identity.create_account(
                database,
                FileKeyRing(settings.keys_folder),
                blobs,
                name=options.name,
                session_limit=settings.session_limit
                if options.session_limit is None
                else options.session_limit,
                queues=options.queue is not False,
                admin=UserRequest(
                    name=options.admin,
                    password=read_secret(options.password_file).get_secret_value(),
                    admin=True,
                    publisher=True,
                ),
            )
        else:
            done = await change_account(
                database,
                options.name,
                session_limit=options.session_limit,
                queues=options.queue,
                offers=offers,
            )
    finally:
        await blobs.close()
        await database.close()
    if not done:
        there = "exists already" if options.command == "create-account" else "does not exist"
        sys.stderr.write(f"account {options.name} {there}; nothing was changed\n")
    return 0 if done else 1
