"""The portal's cookie: on the portal's host only, out of reach of scripts."""

from dataclasses import dataclass

from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class LogOnCookie:
    secure: bool
    """Off only where the portal is served without TLS, on one machine."""

    @property
    def name(self) -> str:
        return "__Host-slipway" if self.secure else "slipway"

    def set(self, response: Response, secret: str) -> None:
        response.set_cookie(
            self.name, secret, httponly=True, secure=self.secure, samesite="lax", path="/"
        )

    def clear(self, response: Response) -> None:
        response.delete_cookie(
            self.name, httponly=True, secure=self.secure, samesite="lax", path="/"
        )
