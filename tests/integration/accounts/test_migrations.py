"""A database of the release before is brought to this one with what it holds."""

from importlib.resources import files
from uuid import uuid4

from slipway_accounts.app import upgrade
from slipway_common.postgres.database import Database
from slipway_common.postgres.migrations import migrate, read_migrations
from slipway_common.settings import PostgresSettings


async def test_sessions_and_accounts_of_before_are_kept(postgres: PostgresSettings) -> None:
    database = await Database.connect(postgres, service="test")
    known = read_migrations(files("slipway_accounts") / "migrations")
    account, user, app, session = (uuid4() for _ in range(4))
    async with database.connection() as connection:
        await migrate(connection, known[:1])
        await connection.execute("INSERT INTO accounts VALUES ($1, 'acme', 7, true)", account)
        await connection.execute(
            "INSERT INTO users (id, account_id, name, password_hash, admin, publisher)"
            " VALUES ($1, $2, 'ada', '', true, true)",
            user,
            account,
        )
        await connection.execute(
            "INSERT INTO packages (id, account_id, kind, name, version, state, upload_sha256,"
            " uploaded_by) VALUES ($1, $2, 'app', 'depots', '1', 'ready', '', $3)",
            app,
            account,
            user,
        )
        await connection.execute(
            "INSERT INTO sessions (id, account_id, user_id, kind, app_id, state, message)"
            " VALUES ($1, $2, $3, 'webui', $4, 'running', 'as before')",
            session,
            account,
            user,
            app,
        )

    await upgrade(database)
    await upgrade(database)

    async with database.connection() as connection:
        kept = await connection.fetchrow("SELECT * FROM sessions")
        limits = await connection.fetchrow("SELECT * FROM accounts")
        story = await connection.fetch("SELECT message, stage FROM session_transitions")
    await database.close()
    assert kept is not None
    assert (kept["message"], kept["profile"], kept["service"]) == ("as before", "standard", None)
    assert limits is not None
    assert (limits["session_limit"], limits["task_idle_seconds"]) == (7, 60)
    assert (limits["webui_idle_seconds"], limits["max_session_seconds"]) == (900, 43200)
    assert [(row["message"], row["stage"]) for row in story] == [("as before", None)]
