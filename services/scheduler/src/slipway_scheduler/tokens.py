"""What runners call home with: who they are, signed by the scheduler."""

import hashlib
import hmac
import time
from datetime import timedelta

from joserfc import jwt
from joserfc.jwk import OKPKey

from slipway_common.contracts.sessions import SessionWanted
from slipway_scheduler.warm.members import PoolKey

AUDIENCE = "slipway-runner"
MEMBER_AUDIENCE = "slipway-member"
AFTER_LIMIT_SECONDS = 600
"""So that the last words of a session that ran into its time limit are still taken."""


class TokenSigner:
    def __init__(self, key_pem: bytes) -> None:
        self._key = OKPKey.import_key(key_pem)
        self._key_pem = key_pem

    def token_for(self, wanted: SessionWanted) -> str:
        lifetime = timedelta(seconds=wanted.max_seconds + AFTER_LIMIT_SECONDS)
        return self._sign(AUDIENCE, str(wanted.session_id), lifetime)

    def member_token(self, member: str, pool: PoolKey, lifetime: timedelta) -> str:
        return self._sign(
            MEMBER_AUDIENCE,
            member,
            lifetime,
            account=str(pool.account_id),
            runtime=pool.runtime,
        )

    @property
    def activation_root(self) -> bytes:
        """From it come the keys of waiting runners: whoever may sign may also activate."""
        return hmac.new(self._key_pem, b"slipway-activation-root", hashlib.sha256).digest()

    def _sign(self, audience: str, subject: str, lifetime: timedelta, **more: str) -> str:
        now = int(time.time())
        claims = {"aud": audience, "sub": subject, "iat": now, **more}
        claims["exp"] = now + int(lifetime.total_seconds())
        return jwt.encode({"alg": "Ed25519"}, claims, self._key, algorithms=["Ed25519"])
