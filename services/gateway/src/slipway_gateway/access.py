"""Who may use a session's pages: a cookie on the session's own host, signed by accounts."""

import time
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from slipway_gateway.accounts import AccountsClient
from slipway_gateway.identity import Identities

MAX_REMEMBERED = 10_000


class SessionAccess:
    def __init__(self, accounts: AccountsClient, identities: Identities) -> None:
        self._accounts = accounts
        self._identities = identities
        self._keys: KeySet | None = None
        self._remembered: dict[tuple[UUID, str], tuple[float, UUID]] = {}

    async def credential(self, session_id: UUID, token: str) -> UUID | None:
        """The log-on behind the token; None if the token does not open this session now."""
        known = self._remembered.get((session_id, token)) or await self._verify(session_id, token)
        if known is None or known[0] <= time.time():
            return None
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[session_id, token] = known
        return None if self._identities.is_revoked(known[1]) else known[1]

    async def _verify(self, session_id: UUID, token: str) -> tuple[float, UUID] | None:
        if self._keys is None:
            self._keys = KeySet.import_key_set(await self._accounts.public_keys())  # type: ignore[arg-type]  # it is the JSON of one
        claims_of = jwt.JWTClaimsRegistry(
            aud={"essential": True, "value": f"session:{session_id}"}, exp={"essential": True}
        )
        try:
            claims: dict[str, Any] = jwt.decode(token, self._keys, algorithms=["Ed25519"]).claims
            claims_of.validate(claims)
            return float(claims["exp"]), UUID(claims["credential"])
        except (JoseError, ValueError, KeyError):
            return None

    def is_revoked(self, credential_id: UUID) -> bool:
        return self._identities.is_revoked(credential_id)
