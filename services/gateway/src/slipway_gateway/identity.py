"""Who asks: from a cookie or a key to a principal, remembered for seconds, forgotten at once.

What accounts said is kept for less time than its signature lasts. A revocation that comes by
Kafka is obeyed at once; should Kafka be away, the short memory bounds the delay.
"""

import hashlib
import time
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import HTTPConnection

from slipway_common.contracts.base import Event
from slipway_common.contracts.identity import CredentialRevoked, UserChanged
from slipway_common.contracts.internal import Identified
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import Principal, Scope
from slipway_common.metrics import web as metrics
from slipway_gateway.accounts import AccountsClient

MAX_REMEMBERED = 10_000
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
MAX_CREDENTIAL_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Caller:
    principal: Principal
    token: str
    """What accounts signed; goes with every call that is made in this caller's name."""

    def require(self, scope: Scope) -> None:
        if not self.principal.may(scope):
            metrics.refusals.labels("scope").inc()
            raise problem(Code.FORBIDDEN, f"This key lacks the scope {scope}.")

    def require_publisher(self) -> None:
        self.require("publish")
        if not (self.principal.publisher or self.principal.admin):
            metrics.refusals.labels("role").inc()
            raise problem(Code.FORBIDDEN, "Only publishers may do this.")

    def require_admin(self) -> None:
        self.require("admin")
        if not self.principal.admin:
            metrics.refusals.labels("role").inc()
            raise problem(Code.FORBIDDEN, "Only admins may do this.")


class Identities:
    def __init__(self, accounts: AccountsClient, *, public_url: str, cookie: str) -> None:
        self._accounts = accounts
        self._origin = public_url
        self._cookie = cookie
        self._remembered: dict[bytes, tuple[Identified, float]] = {}
        self._revoked: set[UUID] = set()

    async def identify(self, connection: HTTPConnection) -> Caller:
        """Raise a problem unless the request carries a credential that counts."""
        key = _key(connection)
        if key is not None:
            return await self.of_secret(key)
        secret = connection.cookies.get(self._cookie)
        if secret is None:
            raise problem(Code.UNAUTHENTICATED)
        if connection.scope.get("method") not in SAFE_METHODS:
            self.require_same_site(connection)
        return await self.of_secret(secret)

    def require_same_site(self, connection: HTTPConnection) -> None:
        """A browser must say that the request comes from our own pages."""
        origin = connection.headers.get("origin") or self._referrer_origin(connection)
        site = connection.headers.get("sec-fetch-site")
        if origin == self._origin or (origin is None and site in {"same-origin", "none"}):
            return
        metrics.refusals.labels("cross-site").inc()
        raise problem(Code.CROSS_SITE)

    @staticmethod
    def _referrer_origin(connection: HTTPConnection) -> str | None:
        """Old and plain browsers send no Origin with a form, but they say what page it is on."""
        referrer = urlsplit(connection.headers.get("referer", ""))
        return f"{referrer.scheme}://{referrer.netloc}" if referrer.netloc else None

    async def of_secret(self, secret: str) -> Caller:
        if len(secret) > MAX_CREDENTIAL_LENGTH:
            raise problem(Code.UNAUTHENTICATED)
        sha256 = hashlib.sha256(secret.encode()).digest()
        known = self._remembered.get(sha256)
        if known is None or known[1] <= time.monotonic():
            identified = await self._accounts.identify(sha256)
            # Half of its lifetime, so that what is remembered can always still be used.
            known = (identified, time.monotonic() + identified.lifetime_seconds / 2)
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[sha256] = known
        identified = known[0]
        if identified.principal.credential_id in self._revoked:
            raise problem(Code.UNAUTHENTICATED)
        return Caller(identified.principal, identified.token)

    def is_revoked(self, credential_id: UUID) -> bool:
        return credential_id in self._revoked

    def on_change(self, _: str, event: Event | None) -> None:
        match event:
            case CredentialRevoked():
                self._revoked.add(event.credential_id)
            case UserChanged(disabled=True):
                gone = event.user_id
                self._remembered = {
                    digest: known
                    for digest, known in self._remembered.items()
                    if known[0].principal.user_id != gone
                }
            case _:
                return


def _key(connection: HTTPConnection) -> str | None:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    return connection.headers.get("apikey")
