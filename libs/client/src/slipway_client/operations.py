"""Each call of the API is written once, as a coroutine, and serves both clients.

An operation of a group answers with an awaitable where the client is asynchronous, and with the
value where it is not; a feed with an asynchronous or a plain iterator. The type checker knows
which from the type of the group, so neither client has code or stubs of its own.
"""

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from slipway_client.portal import Portal
from slipway_client.transport import Transport

P = ParamSpec("P")
T = TypeVar("T")


class Direct:
    """The caller has an event loop and awaits."""


class Blocking:
    """The caller waits while the portal's loop does the work."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal


DriverT_co = TypeVar("DriverT_co", bound=Direct | Blocking, covariant=True)


class Group(Generic[DriverT_co]):
    def __init__(self, transport: Transport, driver: DriverT_co) -> None:
        self._transport = transport
        self._driver = driver


class Operation(Generic[P, T]):
    """A call with one answer."""

    def __init__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, group: Group[Direct], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[P, T]: ...
    def __get__(self, group: Group[Any], owner: type) -> Callable[P, Any]:
        driver = group._driver  # noqa: SLF001 - the other half of a group

        @functools.wraps(self._function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            coroutine = self._function(group, *args, **kwargs)
            return driver.portal.call(coroutine) if isinstance(driver, Blocking) else coroutine

        return call


class Feed(Generic[P, T]):
    """A call whose answers come one by one."""

    def __init__(self, function: Callable[Concatenate[Any, P], AsyncGenerator[T, None]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, group: Group[Direct], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, group: Group[Any], owner: type) -> Callable[P, Any]:
        driver = group._driver  # noqa: SLF001 - the other half of a group

        @functools.wraps(self._function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            feed = self._function(group, *args, **kwargs)
            return _pull(feed, driver.portal) if isinstance(driver, Blocking) else feed

        return call


class _End:
    pass


def _pull(feed: AsyncGenerator[T, None], portal: Portal) -> Iterator[T]:
    async def following() -> T | _End:
        return await anext(feed, _End())

    try:
        while not isinstance(item := portal.call(following()), _End):
            yield item
    finally:
        portal.call(feed.aclose())


operation = Operation
feed = Feed
