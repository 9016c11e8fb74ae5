"""What accounts signs: who somebody is (for the gateway), and who may use a session's pages."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import Principal

ISSUER = "slipway-accounts"
IDENTITY_AUDIENCE = "slipway-internal"
_ALGORITHMS = ["EdDSA", "Ed25519"]


class Signer:
    def __init__(self, key_pem: bytes) -> None:
        self._key = OKPKey.import_key(key_pem)
        self._key.ensure_kid()

    @property
    def public_keys(self) -> dict[str, Any]:
        """JWK set that others verify with."""
        return {"keys": [self._key.as_dict(private=False)]}

    def identity(self, principal: Principal, *, lifetime: timedelta) -> str:
        return self._sign(
            audience=IDENTITY_AUDIENCE,
            lifetime=lifetime,
            claims={"principal": principal.model_dump(mode="json")},
        )

    def read_identity(self, token: str) -> Principal:
        try:
            claims = jwt.decode(token, self._key, algorithms=_ALGORITHMS).claims
            _REGISTRY.validate(claims)
        except (JoseError, ValueError) as error:
            raise problem(Code.UNAUTHENTICATED) from error
        return Principal.model_validate(claims["principal"])

    def session_access(
        self, session_id: UUID, *, user_id: UUID, credential_id: UUID, lifetime: timedelta
    ) -> str:
        return self._sign(
            audience=f"session:{session_id}",
            lifetime=lifetime,
            claims={"sub": str(user_id), "credential": str(credential_id)},
        )

    def _sign(self, *, audience: str, lifetime: timedelta, claims: dict[str, Any]) -> str:
        now = int(time.time())
        return jwt.encode(
            {"alg": "Ed25519", "kid": self._key.kid},
            {
                "iss": ISSUER,
                "aud": audience,
                "iat": now,
                "exp": now + int(lifetime.total_seconds()),
                **claims,
            },
            self._key,
            algorithms=_ALGORITHMS,
        )


_REGISTRY = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": ISSUER},
    aud={"essential": True, "value": IDENTITY_AUDIENCE},
    exp={"essential": True},
)


def expires_in(lifetime: timedelta) -> datetime:
    return datetime.now(tz=UTC) + lifetime
