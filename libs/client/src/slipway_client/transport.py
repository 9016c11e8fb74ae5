"""Requests to the platform: how often they are sent, how long we wait, and what a no means.

Only what may happen twice is sent twice: reads, uploads that announce their digest, and requests
with an Idempotency-Key; anything else only if the connection was never made.
"""

import email.utils
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeVar

import httpx2
import stamina
from pydantic import BaseModel, JsonValue, ValidationError

from slipway_client.errors import SlipwayProblem, UnexpectedAnswerError, UnreachableError
from slipway_common.contracts.problems import Code, Problem

ModelT = TypeVar("ModelT", bound=BaseModel)

PROBLEM_TYPE = "application/problem+json"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_BASE_PATH = "/api/v1"
_PASSING = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True)
class Retries:
    attempts: int = 6
    within: timedelta = timedelta(seconds=45)
    first_wait: timedelta = timedelta(seconds=0.1)
    longest_wait: timedelta = timedelta(seconds=10)
    """Who is asked to wait longer than this is told so, rather than kept waiting."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    connect: timedelta = timedelta(seconds=10)
    answer: timedelta = timedelta(seconds=30)
    upload: timedelta = timedelta(minutes=5)
    """For each piece of an upload, and for the answer after the last one."""
    silence: timedelta = timedelta(seconds=60)
    """Of a live feed, after which it is opened again where it left off."""

    def of(self, read: timedelta) -> httpx2.Timeout:
        return httpx2.Timeout(read.total_seconds(), connect=self.connect.total_seconds())


@dataclass(frozen=True, slots=True)
class Body:
    size: int
    media_type: str
    chunks: Callable[[], AsyncIterable[bytes]]
    """Called once for each time that the request is sent."""


def is_passing(error: Exception, *, limit: timedelta) -> bool | timedelta:
    """Whether trying again can help; a time if the platform said after which."""
    match error:
        case UnreachableError():
            return True
        case SlipwayProblem(status=status) if status in _PASSING:
            # The limit of an account is lifted by someone who stops a session, not by waiting.
            if error.slug == Code.SESSION_LIMIT.slug:
                return False
            if error.retry_after is None:
                return status != HTTPStatus.TOO_MANY_REQUESTS
            return error.retry_after if error.retry_after <= limit else False
        case _:
            return False


class Transport:
    def __init__(
        self,
        url: str,
        *,
        api_key: str | None,
        retries: Retries,
        timeouts: Timeouts,
    ) -> None:
        try:
            base = httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{url!r} is not an address: {error}") from error
        if base.scheme not in {"http", "https"} or not base.host:
            raise ValueError(f"{url!r} is not an address that starts with http:// or https://")
        self.url = str(base).rstrip("/").removesuffix(_BASE_PATH)
        self.retries = retries
        self.timeouts = timeouts
        # Like browsers do, let a log-on on this very machine work without TLS.
        protocols = ("https", "http") if base.host in LOOPBACK else ("https",)
        self._client = httpx2.AsyncClient(
            base_url=self.url + _BASE_PATH,
            # With a cookie, the platform asks every change where it comes from.
            headers={"Origin": self.url}
            | ({"Authorization": f"Bearer {api_key}"} if api_key else {}),
            cookies=CookieJar(DefaultCookiePolicy(secure_protocols=protocols)),
            timeout=timeouts.of(timeouts.answer),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send until there is an answer; raise SlipwayProblem if the answer is no."""
        headers = dict(headers or {})
        repeatable = method == "GET" or bool({"Idempotency-Key", "Repr-Digest"} & headers.keys())
        read = self.timeouts.upload if body else self.timeouts.answer
        if body:
            headers |= {"Content-Length": str(body.size), "Content-Type": body.media_type}

        def hook(error: Exception) -> bool | timedelta:
            if not repeatable:
                return isinstance(error, UnreachableError) and not error.sent
            return is_passing(error, limit=self.retries.longest_wait)

        async for attempt in stamina.retry_context(
            on=hook,
            attempts=self.retries.attempts,
            timeout=self.retries.within,
            wait_initial=self.retries.first_wait,
            wait_max=self.retries.longest_wait,
            wait_jitter=self.retries.first_wait * 5,
        ):
            with attempt, _translated(self.url):
                response = await self._client.request(
                    method,
                    path,
                    params=params,
                    json=json,
                    content=body.chunks() if body else None,
                    headers=headers,
                    timeout=self.timeouts.of(read),
                )
                self._check(response)
                return response
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def events(
        self, path: str, *, after: str | None
    ) -> AsyncIterator[AsyncIterator[httpx2.ServerSentEvent]]:
        """One connection to a live feed: it is up to the caller to open the next one."""
        headers = {"Last-Event-ID": after} if after is not None else {}
        with _translated(self.url):
            async with self._client.sse(
                path, headers=headers, timeout=self.timeouts.of(self.timeouts.silence)
            ) as source:
                if not source.response.is_success:
                    await source.response.aread()
                self._check(source.response)
                yield aiter(source)

    def _check(self, response: httpx2.Response) -> None:
        if response.is_success:
            return
        if response.is_redirect:
            raise UnexpectedAnswerError(
                f"{self.url} sends us on to {response.headers.get('location')}: use the address"
                " that it ends at"
            )
        raise SlipwayProblem(_problem(response), retry_after=_retry_after(response))


def parsed(model: type[ModelT], content: bytes | str) -> ModelT:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _unexpected(model, error) from error


def validated(model: type[ModelT], item: JsonValue) -> ModelT:
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise _unexpected(model, error) from error


def _unexpected(model: type[BaseModel], error: ValidationError) -> UnexpectedAnswerError:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return UnexpectedAnswerError(
        f"the answer is no {model.__name__.strip('_')} ({place or 'body'}: {fault['msg']}): is"
        " this the address of Slipway, and this client as new as it?"
    )


class _Translation:
    """Turns errors of the HTTP library into ours."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case httpx2.SSEError():
                raise UnexpectedAnswerError(f"{self._url} has no live feed: {error}") from error
            case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
                raise UnreachableError(
                    f"{self._url} cannot be reached: {_words(error)}", sent=False
                ) from error
            case httpx2.TransportError():
                raise UnreachableError(
                    f"the connection to {self._url} broke: {_words(error)}", sent=True
                ) from error
            case httpx2.DecodingError():
                raise UnexpectedAnswerError(f"the answer is garbled: {error}") from error
            case _:
                return


_translated = _Translation


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _problem(response: httpx2.Response) -> Problem:
    """Read the problem; make one up for whoever stands before the platform and knows none."""
    if response.headers.get("content-type", "").startswith(PROBLEM_TYPE):
        try:
            return Problem.model_validate_json(response.content)
        except ValidationError:
            return _bare_problem(response)
    return _bare_problem(response)


def _bare_problem(response: httpx2.Response) -> Problem:
    return Problem(
        type="about:blank",
        title=response.reason_phrase or "Error",
        status=response.status_code,
        detail=f"{response.url.host} answered {response.status_code} without saying why",
    )


def _retry_after(response: httpx2.Response) -> timedelta | None:
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return timedelta(seconds=int(value))
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment - datetime.now(tz=UTC), timedelta())
