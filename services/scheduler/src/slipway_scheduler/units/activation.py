"""Tell a runner that waits in a pool which session it is, and hear when that session answers.

Whoever has the address of a pod may be a stranger by now: nothing that it answers is followed,
kept or waited for beyond what the member itself would say.
"""

import asyncio
import hmac
from collections.abc import Callable
from typing import Final

import aiohttp

from slipway_common.contracts.internal import Activation
from slipway_common.crypto import activation
from slipway_common.errors import PermanentError, TransientError

CALL_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 20
LARGEST_ANSWER: Final = 1024
_PATH: Final = "/_slipway"


class StrangerError(PermanentError):
    """Who answers is not the member that was meant, or has become another session."""


class Activations:
    """What is known of a pod, by its uid, is forgotten with it."""

    def __init__(self, root_key: bytes) -> None:
        self._root_key = root_key
        self._waits: dict[str, asyncio.Task[None]] = {}
        self._trying: set[str] = set()
        self._told: set[str] = set()
        self._answering: set[str] = set()
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        for task in self._waits.values():
            task.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)
        await self._http.close()

    def is_told(self, uid: str) -> bool:
        return uid in self._told

    def answers(self, uid: str) -> bool:
        return uid in self._answering

    def key_of(self, member: str) -> bytes:
        return activation.member_key(self._root_key, member)

    async def activate(
        self,
        uid: str,
        *,
        member: str,
        address: str,
        session: Activation,
        on_answer: Callable[[], None],
    ) -> None:
        """Return when the member has taken the session; ``on_answer`` when that answers.

        StrangerError: it never will. TransientError: it did not answer; ask again.
        """
        key = self.key_of(member)
        body = activation.seal(key, session.model_dump_json().encode(), member=member)
        self._trying.add(uid)
        said = await self._post(f"http://{address}{_PATH}/activate", body)
        expected = activation.acknowledgement(key, session.session_id).encode()
        if not hmac.compare_digest(said, expected):
            raise StrangerError("the answer did not come from the member that was meant")
        if uid not in self._trying:
            return  # it was forgotten meanwhile
        self._told.add(uid)
        if uid not in self._waits:
            self._waits[uid] = asyncio.create_task(self._await_answer(uid, address, on_answer))

    async def _post(self, url: str, body: bytes) -> bytes:
        try:
            async with self._http.post(
                url,
                data=body,
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
                allow_redirects=False,
            ) as answer:
                said = bytearray()
                async for chunk in answer.content.iter_any():
                    said += chunk
                    if len(said) > LARGEST_ANSWER:
                        break
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TransientError(f"the member does not answer: {type(error).__name__}") from error
        if answer.status in {403, 409}:
            raise StrangerError(f"the member refused ({answer.status})")
        if answer.status != 200:
            raise TransientError(f"the member answered {answer.status}")
        return bytes(said)

    async def _await_answer(self, uid: str, address: str, on_answer: Callable[[], None]) -> None:
        """Ask until it answers or is forgotten: whoever watches its start ends one that is late."""
        while not await self._is_ready(address):
            await asyncio.sleep(0.05)
        self._answering.add(uid)
        on_answer()

    async def _is_ready(self, address: str) -> bool:
        try:
            async with self._http.get(
                f"http://{address}{_PATH}/ready",
                params={"wait": str(WAIT_SECONDS)},
                timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS + CALL_SECONDS),
                allow_redirects=False,
            ) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.sleep(0.2)
            return False

    def forget(self, uid: str) -> None:
        self._trying.discard(uid)
        self._told.discard(uid)
        self._answering.discard(uid)
        task = self._waits.pop(uid, None)
        if task is not None:
            task.cancel()
