"""What a runner calls home with: names its session, signed by the scheduler, good for its life."""

import time

from joserfc import jwt
from joserfc.jwk import OKPKey

from slipway_common.contracts.sessions import SessionWanted

AUDIENCE = "slipway-runner"
AFTER_LIMIT_SECONDS = 600
"""So that the last words of a session that ran into its time limit are still taken."""


class TokenSigner:
    def __init__(self, key_pem: bytes) -> None:
        self._key = OKPKey.import_key(key_pem)

    def token_for(self, wanted: SessionWanted) -> str:
        now = int(time.time())
        return jwt.encode(
            {"alg": "Ed25519"},
            {
                "aud": AUDIENCE,
                "sub": str(wanted.session_id),
                "iat": now,
                "exp": now + wanted.max_seconds + AFTER_LIMIT_SECONDS,
            },
            self._key,
            algorithms=["Ed25519"],
        )
