"""What the gateway itself asks of sessions, beside the requests that it passes on.

What answers there runs beside an app that may be hostile: little is read of it, and not for long.
"""

from typing import Final
from uuid import UUID

import aiohttp
from pydantic import ValidationError

from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import SessionState
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.runners import SessionSecrets

CALL_SECONDS: Final = 2.0
MAX_BYTES: Final = 16 * 1024


class SessionFronts:
    def __init__(self, accounts: AccountsClient, secrets: SessionSecrets) -> None:
        self._accounts = accounts
        self._secrets = secrets
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=200, keepalive_timeout=15),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
        )

    async def close(self) -> None:
        await self._http.close()

    async def use(self, session_id: UUID) -> SessionUse:
        """What it uses now; the caller has been found to be allowed to see the session."""
        content = await self._get(session_id, "/_slipway/use")
        try:
            return SessionUse.model_validate_json(content)
        except ValidationError as error:
            raise problem(Code.SESSION_UNREACHABLE, "It answers what it should not.") from error

    async def _get(self, session_id: UUID, path: str) -> bytes:
        address = await self._address(session_id)
        try:
            async with self._http.get(
                f"http://{address}{path}",
                headers={"Slipway-Session-Secret": self._secrets.of(session_id)},
                allow_redirects=False,
            ) as answer:
                content = bytearray()
                async for chunk in answer.content.iter_any():
                    content += chunk
                    if len(content) > MAX_BYTES:
                        raise problem(Code.SESSION_UNREACHABLE, "It answers too much.")
        except TimeoutError as error:
            raise problem(Code.SESSION_TIMEOUT, "Its machine may be busy.") from error
        except aiohttp.ClientError as error:
            raise problem(Code.SESSION_UNREACHABLE, "It may just have ended.") from error
        if answer.status != 200:
            raise problem(Code.SESSION_UNREACHABLE, "It may just have ended.")
        return bytes(content)

    async def _address(self, session_id: UUID) -> str:
        route = await self._accounts.route(session_id)
        if route.state.over:
            raise problem(Code.SESSION_OVER)
        if route.state is not SessionState.RUNNING or route.address is None:
            raise problem(Code.SESSION_NOT_READY, f"The session is {route.state}.")
        return route.address
