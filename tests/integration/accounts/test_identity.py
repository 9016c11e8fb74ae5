"""Who somebody is: log-ons, API keys and users, and that no secret is kept."""

import hashlib
import json
from datetime import timedelta
from uuid import uuid4

import pytest

from integration.accounts.world import PASSWORD, World, refused
from slipway_accounts.identity import create_account
from slipway_common.blobs.names import container_of
from slipway_common.contracts.registry import IDENTITY
from slipway_common.contracts.views import ApiKeyRequest, LogOn, UserRequest


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


async def test_an_account_is_made_once_with_its_key_and_container(world: World) -> None:
    ada = await world.account("acme")

    again = await create_account(
        world.database,
        world.keys,
        world.blobs,
        name="acme",
        session_limit=99,
        queues=False,
        admin=UserRequest(name="eve", password=PASSWORD, admin=True),
    )

    assert not again
    assert [user.name for user in await world.identity.list_users(ada)] == ["ada"]
    assert (await world.keys.wrap(ada.account_id, bytes(32))).wrapped
    await world.blobs.put(container_of(ada.account_id), "there", b"1")


async def test_the_right_password_logs_on_with_a_secret_of_its_own_each_time(world: World) -> None:
    await world.account("acme")
    request = LogOn(account="acme", user="ada", password=PASSWORD)

    first = await world.identity.log_on(request)
    second = await world.identity.log_on(request)

    assert first.secret != second.secret
    found = await world.identity.identify(digest(first.secret))
    assert found.principal == first.principal
    assert world.signer.read_identity(found.token) == first.principal


@pytest.mark.parametrize(
    ("account", "user", "password"),
    [
        ("acme", "ada", PASSWORD + "!"),
        ("acme", "ada", ""),
        ("acme", "nobody", PASSWORD),
        ("nowhere", "ada", PASSWORD),
        ("ACME", "ada", PASSWORD),
    ],
)
async def test_whatever_is_wrong_about_a_log_on_the_answer_is_the_same(
    world: World, account: str, user: str, password: str
) -> None:
    await world.account("acme")

    async with refused("wrong-password"):
        await world.identity.log_on(LogOn(account=account, user=user, password=password))


async def test_a_disabled_user_is_out_at_once_with_all_keys(world: World) -> None:
    ada = await world.account("acme")
    bob = await world.user(ada, "bob")
    key = await world.identity.create_key(bob, ApiKeyRequest(name="ci", scopes=("read",)))
    assert key.key is not None

    await world.identity.disable_user(ada, bob.user_id)

    async with refused("wrong-password"):
        await world.identity.log_on(LogOn(account="acme", user="bob", password=PASSWORD))
    async with refused("unauthenticated"):
        await world.identity.identify(digest(key.key))
    revoked = {
        body["credential_id"]
        for _, body in await world.told(IDENTITY)
        if body and body["type"] == "slipway.credential.revoked"
    }
    assert revoked == {str(bob.credential_id), str(key.id)}


async def test_nobody_disables_themselves_or_a_user_of_another_account(world: World) -> None:
    ada = await world.account("acme")
    eve = await world.account("evil")

    async with refused("forbidden"):
        await world.identity.disable_user(ada, ada.user_id)
    async with refused("not-found"):
        await world.identity.disable_user(eve, ada.user_id)


async def test_a_user_name_is_taken_once_per_account_only(world: World) -> None:
    ada = await world.account("acme")
    other = await world.account("other")

    async with refused("name-exists"):
        await world.identity.create_user(ada, UserRequest(name="ada", password=PASSWORD))
    assert other.user == ada.user


async def test_a_key_never_has_more_scopes_than_the_one_that_made_it(world: World) -> None:
    ada = await world.account("acme")
    narrow = await world.identity.create_key(ada, ApiKeyRequest(name="ci", scopes=("read",)))
    assert narrow.key is not None
    holder = (await world.identity.identify(digest(narrow.key))).principal

    assert holder.scopes == ("read",)
    for wider in ("launch", "tasks", "publish", "admin"):
        async with refused("forbidden"):
            await world.identity.create_key(
                holder, ApiKeyRequest(name="wider", scopes=("read", wider))
            )
    same = await world.identity.create_key(holder, ApiKeyRequest(name="same", scopes=("read",)))
    assert same.scopes == ("read",)


async def test_a_revoked_key_counts_no_more_and_the_mesh_is_told(world: World) -> None:
    ada = await world.account("acme")
    key = await world.identity.create_key(ada, ApiKeyRequest(name="ci", scopes=("read",)))
    assert key.key is not None

    await world.identity.revoke(ada, key.id)

    async with refused("unauthenticated"):
        await world.identity.identify(digest(key.key))
    told = [(name, body) for name, body in await world.told(IDENTITY) if name == str(key.id)]
    assert [body["type"] for _, body in told if body] == ["slipway.credential.revoked"]
    assert await world.identity.list_keys(ada) == []


async def test_nobody_revokes_what_is_not_theirs(world: World) -> None:
    ada = await world.account("acme")
    bob = await world.user(ada, "bob")

    async with refused("not-found"):
        await world.identity.revoke(bob, ada.credential_id)
    async with refused("not-found"):
        await world.identity.revoke(ada, uuid4())
    assert (await world.fetch("SELECT count(*) AS n FROM credentials WHERE revoked_at IS NULL"))[0][
        "n"
    ] == 2


async def test_an_expired_key_says_so(world: World) -> None:
    ada = await world.account("acme")
    key = await world.identity.create_key(ada, ApiKeyRequest(name="ci", scopes=("read",)))
    assert key.key is not None
    await world.fetch("UPDATE credentials SET expires_at = now() WHERE id = $1", key.id)

    async with refused("key-expired"):
        await world.identity.identify(digest(key.key))


async def test_no_secret_lies_in_any_table_as_it_is(world: World) -> None:
    ada = await world.account("acme")
    await world.publish_all(ada)
    log_on = await world.identity.log_on(LogOn(account="acme", user="ada", password=PASSWORD))
    key = await world.identity.create_key(ada, ApiKeyRequest(name="ci", scopes=("read",)))
    session_id = await world.launch(ada)
    await world.run(ada, session_id)
    ticket = await world.sessions.issue_ticket(ada, session_id)
    await world.identity.revoke(ada, key.id)

    tables = await world.fetch(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    dump = ""
    for table in tables:
        rows = await world.fetch(f'SELECT to_jsonb(t) AS row FROM "{table["name"]}" t')  # noqa: S608
        dump += json.dumps([row["row"] for row in rows])

    assert len(tables) >= 10
    assert str(ada.user_id) in dump
    for secret in (PASSWORD, log_on.secret, key.key, ticket.secret):
        assert secret is not None
        assert secret not in dump
        assert secret.encode().hex() not in dump


async def test_an_identity_signed_by_another_key_or_for_another_use_is_not_believed(
    world: World, tmp_path
) -> None:
    ada = await world.account("acme")
    stranger = World(world.database, world.blobs, tmp_path)
    forged = stranger.signer.identity(ada, lifetime=timedelta(minutes=1))
    other_use = world.signer.session_access(
        uuid4(),
        user_id=ada.user_id,
        credential_id=ada.credential_id,
        lifetime=timedelta(minutes=1),
    )
    old = world.signer.identity(ada, lifetime=timedelta(seconds=-5))

    for token in (forged, other_use, old, "", "a.b.c", "eyJhbGciOiJub25lIn0.e30."):
        async with refused("unauthenticated"):
            world.signer.read_identity(token)
