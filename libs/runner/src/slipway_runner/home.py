"""Calls home to the gateway: in one session's or member's name, tried again until home answers.

The gateway may be restarted at any moment. A session goes on working through that, and says what
it has to say when home is back.
"""

from collections.abc import AsyncIterator
from typing import Any, Literal
from uuid import UUID, uuid4

import aiohttp
import stamina
from pydantic import BaseModel, ValidationError

from slipway_common.contracts.internal import (
    Assignment,
    Instruction,
    RunnerGrant,
    RunnerMemberGrant,
)
from slipway_common.contracts.problems import Problem, ProblemError
from slipway_common.contracts.views import Progress
from slipway_common.errors import TransientError

PATIENCE_SECONDS = 1800.0
"""How long home may be away before a session gives up on telling it something."""

CALL_SECONDS = 15.0
SLOWEST_BYTES_PER_SECOND = 1024 * 1024
_CHUNK = 1024 * 1024


class Home:
    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/") + "/runner/v1"
        self._claim_id = uuid4()
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=5),
        )

    async def close(self) -> None:
        await self._http.close()

    async def claim(self) -> RunnerGrant:
        """Take the session's one grant; a repetition by this runner gets the same one."""
        content = await self._call("POST", "/claim", json={"claim_id": str(self._claim_id)})
        return RunnerGrant.model_validate_json(content)

    async def claim_as_member(self) -> RunnerMemberGrant:
        """What a runner without a session may have: the runtime of the sessions to come."""
        return RunnerMemberGrant.model_validate_json(await self._call("POST", "/member/claim"))

    def package(self, which: Literal["app", "runtime"]) -> AsyncIterator[bytes]:
        """Yield ciphertext. Not tried again here: whoever decrypts must start over, too."""
        return self._stream(f"/packages/{which}", {"Slipway-Claim": str(self._claim_id)})

    def member_runtime(self) -> AsyncIterator[bytes]:
        """As ``package``, for a member."""
        return self._stream("/member/runtime", {})

    async def _stream(self, path: str, headers: dict[str, str]) -> AsyncIterator[bytes]:
        try:
            async with self._http.get(
                self._url + path,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30),
            ) as answer:
                if answer.status >= 400:
                    raise _error(answer.status, await answer.read())
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError("a package did not come whole") from error

    async def say(self, message: str) -> None:
        await self._call("POST", "/say", json={"message": message})

    async def store_log(self, content: bytes) -> None:
        await self._call("PUT", "/log", data=content)

    async def next_task(self, *, wait: float) -> Assignment | None:
        content = await self._call(
            "POST", "/tasks/next", params={"wait": str(wait)}, seconds=wait + CALL_SECONDS
        )
        return Assignment.model_validate_json(content) if content else None

    async def task_request(self, task_id: UUID) -> bytes:
        return await self._call("GET", f"/tasks/{task_id}/request")

    async def progress(self, task_id: UUID, progress: Progress | None) -> Instruction:
        content = await self._call("POST", f"/tasks/{task_id}/progress", json=progress)
        return Instruction.model_validate_json(content)

    async def complete(self, task_id: UUID, response: bytes, *, outcome: str) -> None:
        await self._call(
            "PUT",
            f"/tasks/{task_id}/response",
            params={"outcome": outcome},
            data=response,
            seconds=CALL_SECONDS + len(response) / SLOWEST_BYTES_PER_SECOND,
        )

    async def fail(self, task_id: UUID, problem: dict[str, Any]) -> None:
        await self._call("POST", f"/tasks/{task_id}/failure", json=problem)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        json: BaseModel | dict[str, Any] | None = None,
        data: bytes | None = None,
        params: dict[str, str] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> bytes:
        body = json.model_dump(mode="json") if isinstance(json, BaseModel) else json
        content = b""
        async for attempt in stamina.retry_context(
            on=TransientError, attempts=None, timeout=PATIENCE_SECONDS, wait_initial=0.1, wait_max=5
        ):
            with attempt:
                content = await self._once(method, path, body, data, params, seconds)
        return content

    async def _once(
        self,
        method: str,
        path: str,
        body: Any,
        data: bytes | None,
        params: dict[str, str] | None,
        seconds: float,
    ) -> bytes:
        try:
            async with self._http.request(
                method,
                self._url + path,
                json=body,
                data=data,
                params=params,
                timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=5),
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError(f"home does not answer: {type(error).__name__}") from error
        if answer.status >= 400:
            raise _error(answer.status, content)
        return content


def _error(status: int, content: bytes) -> Exception:
    if status >= 500:
        return TransientError(f"home answered {status}")
    try:
        return ProblemError(Problem.model_validate_json(content))
    except ValidationError:
        return TransientError(f"home answered {status}")
