"""Who somebody is: accounts, users, log-ons and API keys.

Secrets are random, 256 bits, and only their digests are kept; whoever reads the database can
neither log on with what is there nor find it in a log.
"""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID, uuid4

from slipway_accounts.passwords import hash_password, verify_password
from slipway_accounts.storage import identity_store
from slipway_accounts.tokens import Signer
from slipway_common.blobs.names import container_of
from slipway_common.blobs.store import BlobStore
from slipway_common.contracts.base import AccountId, UserId
from slipway_common.contracts.identity import CredentialRevoked, UserChanged
from slipway_common.contracts.internal import Identified, LogOnView
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import (
    ApiKeyRequest,
    ApiKeyView,
    LogOn,
    Principal,
    Scope,
    UserRequest,
    UserView,
)
from slipway_common.crypto.keys import KeyRing
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection, Database

ALL_SCOPES: tuple[Scope, ...] = ("read", "launch", "tasks", "publish", "admin")

LOG_ON_PREFIX = "slwl_"
API_KEY_PREFIX = "slwk_"
"""Known prefixes let secret scanners recognise a key that leaked."""


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class IdentityService:
    def __init__(
        self,
        database: Database,
        signer: Signer,
        *,
        log_on_lifetime: timedelta,
        identity_lifetime: timedelta,
    ) -> None:
        self._database = database
        self._signer = signer
        self._log_on_lifetime = log_on_lifetime
        self._identity_lifetime = identity_lifetime

    async def log_on(self, request: LogOn) -> LogOnView:
        async with self._database.connection() as connection:
            user = await identity_store.find_user(
                connection, account=request.account, name=request.user
            )
        known = None if user is None or user["disabled"] else user["password_hash"]
        if not await verify_password(known, request.password) or user is None:
            raise problem(Code.WRONG_PASSWORD)
        secret = LOG_ON_PREFIX + secrets.token_urlsafe(32)
        async with self._database.transaction() as tx:
            await identity_store.add_credential(
                tx,
                uuid4(),
                user_id=user["id"],
                kind="log-on",
                name="",
                sha256=digest(secret),
                scopes=ALL_SCOPES,
                lifetime=self._log_on_lifetime,
            )
        return LogOnView(secret=secret, principal=await self._find(digest(secret)))

    async def identify(self, sha256: bytes) -> Identified:
        principal = await self._find(sha256)
        return Identified(
            principal=principal,
            token=self._signer.identity(principal, lifetime=self._identity_lifetime),
            lifetime_seconds=int(self._identity_lifetime.total_seconds()),
        )

    async def _find(self, sha256: bytes) -> Principal:
        async with self._database.connection() as connection:
            row = await identity_store.find_principal(connection, sha256)
        if row is None:
            raise problem(Code.UNAUTHENTICATED)
        if row["expired"]:
            raise problem(
                Code.KEY_EXPIRED if row["kind"] == "api-key" else Code.UNAUTHENTICATED,
                "Make a new key." if row["kind"] == "api-key" else "Log on again.",
            )
        return Principal(
            account_id=row["account_id"],
            account=row["account_name"],
            user_id=row["user_id"],
            user=row["user_name"],
            credential_id=row["credential_id"],
            admin=row["admin"],
            publisher=row["publisher"],
            scopes=tuple(row["scopes"]),
            expires_at=row["expires_at"],
        )

    async def create_key(self, principal: Principal, request: ApiKeyRequest) -> ApiKeyView:
        beyond = set(request.scopes) - set(principal.scopes)
        if beyond:
            raise problem(
                Code.FORBIDDEN, f"Your own key does not have: {', '.join(sorted(beyond))}."
            )
        credential_id = uuid4()
        key = API_KEY_PREFIX + secrets.token_urlsafe(32)
        async with self._database.transaction() as tx:
            created_at, expires_at = await identity_store.add_credential(
                tx,
                credential_id,
                user_id=principal.user_id,
                kind="api-key",
                name=request.name,
                sha256=digest(key),
                scopes=request.scopes,
                lifetime=timedelta(days=request.expires_in_days),
            )
        return ApiKeyView(
            id=credential_id,
            name=request.name,
            scopes=request.scopes,
            created_at=created_at,
            expires_at=expires_at,
            key=key,
        )

    async def list_keys(self, principal: Principal) -> list[ApiKeyView]:
        async with self._database.connection() as connection:
            rows = await identity_store.list_api_keys(connection, principal.user_id)
        return [ApiKeyView(**dict(row)) for row in rows]

    async def revoke(self, principal: Principal, credential_id: UUID) -> None:
        """Forget one of the caller's own log-ons or keys."""
        async with self._database.transaction() as tx:
            if not await identity_store.revoke(tx, credential_id, user_id=principal.user_id):
                raise problem(Code.NOT_FOUND)
            await messages.enqueue(
                tx,
                CredentialRevoked(
                    account_id=AccountId(principal.account_id),
                    credential_id=credential_id,
                    user_id=UserId(principal.user_id),
                ),
            )

    async def create_user(self, principal: Principal, request: UserRequest) -> UserView:
        password_hash = await hash_password(request.password)
        async with self._database.transaction() as tx:
            view = await add_user(tx, principal.account_id, request, password_hash)
        if view is None:
            raise problem(Code.NAME_EXISTS, f"There is a user named {request.name}.")
        return view

    async def list_users(self, principal: Principal) -> list[UserView]:
        async with self._database.connection() as connection:
            rows = await identity_store.list_users(connection, principal.account_id)
        return [UserView(**dict(row)) for row in rows]

    async def disable_user(self, principal: Principal, user_id: UUID) -> None:
        if user_id == principal.user_id:
            raise problem(Code.FORBIDDEN, "You cannot disable yourself.")
        async with self._database.transaction() as tx:
            name = await identity_store.disable_user(tx, user_id, account_id=principal.account_id)
            if name is None:
                raise problem(Code.NOT_FOUND)
            account_id = AccountId(principal.account_id)
            user = UserId(user_id)
            await messages.enqueue(
                tx,
                UserChanged(account_id=account_id, user_id=user, name=name, disabled=True),
                *[
                    CredentialRevoked(account_id=account_id, credential_id=each, user_id=user)
                    for each in await identity_store.revoke_all(tx, user_id)
                ],
            )


async def add_user(
    tx: Connection, account_id: UUID, request: UserRequest, password_hash: str
) -> UserView | None:
    """None if the account has a user of this name."""
    row = await identity_store.add_user(
        tx,
        uuid4(),
        account_id=account_id,
        name=request.name,
        password_hash=password_hash,
        admin=request.admin,
        publisher=request.publisher,
    )
    if row is None:
        return None
    await messages.enqueue(
        tx,
        UserChanged(account_id=AccountId(account_id), user_id=UserId(row["id"]), name=request.name),
    )
    return UserView(**dict(row))


async def create_account(
    database: Database,
    keys: KeyRing,
    blobs: BlobStore,
    *,
    name: str,
    session_limit: int,
    queues: bool,
    admin: UserRequest,
) -> bool:
    """Make an account with its key, its container and its first admin.

    False if it is there already. Key and container come first and may be made twice,
    so that no account is ever seen that cannot store anything.
    """
    async with database.connection() as connection:
        known = await identity_store.find_account(connection, name)
    if known is not None:
        return False
    account_id = uuid4()
    await keys.create(account_id)
    await blobs.ensure_container(container_of(account_id))
    password_hash = await hash_password(admin.password)
    async with database.transaction() as tx:
        if not await identity_store.add_account(
            tx, account_id, name=name, session_limit=session_limit, queues=queues
        ):
            return False
        await add_user(tx, account_id, admin, password_hash)
    return True
