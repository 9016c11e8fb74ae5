"""What runners call home for: their packages and keys, their tasks, and what they report.

A runner's token names its session and is signed by the scheduler. It is checked first, and all
that follows is asked of accounts in the name of that session alone.
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from starlette.requests import Request

from slipway_common.blobs.names import session_log_blob, task_request_blob, task_response_blob
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.internal import (
    Assignment,
    Grant,
    Instruction,
    MemberGrant,
    PackageGrant,
    RunnerGrant,
    RunnerMemberGrant,
)
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import Progress
from slipway_common.crypto.keys import UnknownKeyError
from slipway_common.failpoints import failpoint
from slipway_common.web.problems import LACKS_KEY
from slipway_gateway.accounts import AccountsClient

AUDIENCE = "slipway-runner"
MEMBER_AUDIENCE = "slipway-member"
MAX_LOG_BYTES = 4 * 1024 * 1024
MAX_RESPONSE_BYTES = 256 * 1024 * 1024
MAX_WAIT_SECONDS = 20.0

MAX_KEYLESS = 1000
"""So many sessions are remembered of which a key is missing; forgotten ones are told once more."""


def _claims(audience: str, *names: str) -> jwt.JWTClaimsRegistry:
    named: dict[str, Any] = {name: {"essential": True} for name in ("exp", "sub", *names)}
    return jwt.JWTClaimsRegistry(aud={"essential": True, "value": audience}, **named)


_SESSION_CLAIMS = _claims(AUDIENCE)
_MEMBER_CLAIMS = _claims(MEMBER_AUDIENCE, "account", "runtime")


@dataclass(frozen=True, slots=True)
class Member:
    """A runner that waits in a pool; it may have this one runtime, and speaks for no session."""

    name: str
    account_id: UUID
    runtime: str


class SessionSecrets:
    """What the gateway shows to a session: different for each, and stored nowhere."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, session_id: UUID) -> str:
        return hmac.new(self._key, session_id.bytes, hashlib.sha256).hexdigest()


class RunnerService:
    def __init__(
        self,
        accounts: AccountsClient,
        vault: Vault,
        *,
        verification_key: bytes,
        secrets: SessionSecrets,
    ) -> None:
        self._accounts = accounts
        self._vault = vault
        self._key = OKPKey.import_key(verification_key)
        self._secrets = secrets
        self._keyless: dict[UUID, Grant] = {}
        """By session: what it was granted while its account's key was missing."""

    def session_of(self, request: Request) -> UUID:
        """Raise a problem unless the request carries a runner's token."""
        claims = self._read(request, _SESSION_CLAIMS)
        return _id(claims["sub"])

    def member_of(self, request: Request) -> Member:
        """Raise a problem unless the request carries a member's token."""
        claims = self._read(request, _MEMBER_CLAIMS)
        return Member(
            name=str(claims["sub"]),
            account_id=_id(claims["account"]),
            runtime=str(claims["runtime"]),
        )

    def _read(self, request: Request, registry: jwt.JWTClaimsRegistry) -> dict[str, Any]:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise problem(Code.UNAUTHENTICATED)
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["Ed25519"]).claims
            registry.validate(claims)
        except (JoseError, ValueError) as error:
            raise problem(Code.UNAUTHENTICATED) from error
        return claims

    async def claim_as_member(self, member: Member) -> RunnerMemberGrant:
        grant = await self._member_grant(member)
        key = await self._key_of(grant.account_id, grant.runtime)
        assert key is not None
        return RunnerMemberGrant(grant=grant, runtime_key=key)

    async def member_runtime(self, member: Member) -> AsyncIterator[bytes]:
        """Ciphertext, as ``package``."""
        grant = await self._member_grant(member)
        return self._vault.read_ciphertext(grant.account_id, grant.runtime.blob)

    async def _member_grant(self, member: Member) -> MemberGrant:
        return await self._accounts.member_grant(member.account_id, member.runtime)

    async def _key_of(self, account_id: UUID, package: PackageGrant | None) -> str | None:
        """Base64 of the package's data key; None if there is no package."""
        if package is None:
            return None
        return base64.b64encode(await self._vault.data_key(account_id, package.blob)).decode()

    async def _keys_of(self, grant: Grant) -> tuple[str | None, str | None]:
        """Of app and runtime."""
        app, runtime = await asyncio.gather(
            self._key_of(grant.account_id, grant.app),
            self._key_of(grant.account_id, grant.runtime),
        )
        return app, runtime

    async def claim(self, session_id: UUID, claim_id: UUID) -> RunnerGrant:
        keyless = self._keyless.get(session_id)
        if keyless is not None:
            # At each claim accounts tells the user that all is well: not before it is.
            await self._keys_of(keyless)
            self._keyless.pop(session_id, None)
        grant = await self._accounts.claim(session_id, claim_id)
        try:
            app_key, runtime_key = await self._keys_of(grant)
        except UnknownKeyError:
            # The runner asks again until it may not start any more; its user learns why it waits.
            await self._accounts.say(session_id, LACKS_KEY)
            if len(self._keyless) >= MAX_KEYLESS:
                self._keyless.clear()
            self._keyless[session_id] = grant
            raise
        failpoint("gateway.claim-granted")
        return RunnerGrant(
            grant=grant,
            app_key=app_key,
            runtime_key=runtime_key,
            session_secret=self._secrets.of(session_id),
        )

    async def package(
        self, session_id: UUID, claim_id: UUID, which: Literal["app", "runtime"]
    ) -> AsyncIterator[bytes]:
        """Ciphertext: the runner has the key, and nobody in between."""
        grant = await self._accounts.claim(session_id, claim_id)
        package = grant.app if which == "app" else grant.runtime
        if package is None:
            raise problem(Code.NOT_FOUND, "An external session has no packages.")
        return self._vault.read_ciphertext(grant.account_id, package.blob)

    async def next_task(self, session_id: UUID, *, wait: float) -> Assignment | None:
        return await self._accounts.next_task(session_id, wait=min(wait, MAX_WAIT_SECONDS))

    async def task_request(self, session_id: UUID, task_id: UUID) -> AsyncIterator[bytes]:
        held = await self._accounts.held_task(session_id, task_id)
        return self._vault.read(held.account_id, task_request_blob(task_id))

    async def progress(
        self, session_id: UUID, task_id: UUID, progress: Progress | None
    ) -> Instruction:
        return await self._accounts.progress(session_id, task_id, progress)

    async def complete(
        self,
        session_id: UUID,
        task_id: UUID,
        request: Request,
        *,
        outcome: Literal["completed", "interrupted"],
    ) -> None:
        held = await self._accounts.held_task(session_id, task_id)
        blob = task_response_blob(task_id)
        async with await self._vault.writer(held.account_id, blob) as writer:
            async for chunk in request.stream():
                if writer.size + len(chunk) > MAX_RESPONSE_BYTES:
                    raise problem(Code.TOO_LARGE)
                await writer.write(chunk)
            await writer.commit(replace=True)
        failpoint("gateway.response-stored")
        await self._accounts.complete(session_id, task_id, outcome)

    async def fail(self, session_id: UUID, task_id: UUID, found: dict[str, Any]) -> None:
        await self._accounts.fail(session_id, task_id, found)

    async def store_log(self, session_id: UUID, request: Request) -> None:
        """The whole log so far, each time: a lost upload costs nothing."""
        route = await self._accounts.route(session_id)
        if route.state.over:
            raise problem(Code.SESSION_OVER)
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_LOG_BYTES:
                raise problem(Code.TOO_LARGE)
        await self._vault.put(
            route.account_id, session_log_blob(session_id), bytes(content), replace=True
        )

    async def say(self, session_id: UUID, message: str) -> None:
        await self._accounts.say(session_id, message)


def _id(claim: Any) -> UUID:
    try:
        return UUID(claim)
    except (ValueError, TypeError, AttributeError) as error:
        raise problem(Code.UNAUTHENTICATED) from error
