"""The write limit: who goes first, what a pause means, and that who gives up costs nobody else."""

import asyncio

import pytest

from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from support.waiting import eventually


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Queue:
    """Callers of a limiter, and the order in which their turn came."""

    def __init__(self, limiter: WriteLimiter) -> None:
        self._limiter = limiter
        self.served: list[str] = []

    def ask(self, name: str, rank: Rank = Rank.SESSION) -> asyncio.Task[None]:
        return asyncio.create_task(self._wait(name, rank))

    async def _wait(self, name: str, rank: Rank) -> None:
        await self._limiter.acquire(rank)
        self.served.append(name)

    async def has_served(self, number: int) -> None:
        async def done() -> bool:
            return len(self.served) >= number

        await eventually(done, seconds=5, what=f"{number} turns")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> WriteLimiter:
    """A token each millisecond of the clock; three can be saved."""
    return WriteLimiter(per_second=1000, burst=3, clock=clock)


async def settle() -> None:
    """Let timers of a few milliseconds go off."""
    for _ in range(10):
        await asyncio.sleep(0.002)


async def test_a_burst_passes_at_once_and_the_next_waits(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    tasks = [queue.ask(str(number)) for number in range(5)]

    await settle()
    at_once = list(queue.served)
    clock.now += 0.001
    await queue.has_served(4)
    clock.now += 0.001
    await queue.has_served(5)

    assert at_once == ["0", "1", "2"]
    assert queue.served == ["0", "1", "2", "3", "4"]
    await asyncio.gather(*tasks)


async def test_what_is_saved_is_never_more_than_the_burst(
    limiter: WriteLimiter, clock: Clock
) -> None:
    clock.now += 3600
    queue = Queue(limiter)

    tasks = [queue.ask(str(number)) for number in range(6)]
    await settle()

    assert queue.served == ["0", "1", "2"]
    clock.now += 3600
    await queue.has_served(6)
    await asyncio.gather(*tasks)


async def test_sessions_go_before_ends_and_ends_before_all_else(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    first = [queue.ask("burst") for _ in range(3)]
    await queue.has_served(3)
    late = [
        queue.ask("refill", Rank.REFILL),
        queue.ask("node", Rank.NODE),
        queue.ask("end", Rank.END),
        queue.ask("session", Rank.SESSION),
        queue.ask("another session", Rank.SESSION),
    ]
    await settle()

    for number in range(4, 9):
        clock.now += 0.001
        await queue.has_served(number)

    assert queue.served[3:] == ["session", "another session", "end", "node", "refill"]
    await asyncio.gather(*first, *late)


async def test_nobody_overtakes_who_waits_with_the_same_rank(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    tasks = [queue.ask(str(number)) for number in range(4)]
    await settle()
    clock.now += 0.001

    tasks.append(queue.ask("late"))
    await queue.has_served(4)

    assert queue.served == ["0", "1", "2", "3"]
    clock.now += 0.001
    await asyncio.gather(*tasks)


async def test_while_the_server_wants_a_pause_nobody_passes(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    limiter.pause(0.05)
    tasks = [queue.ask("a", Rank.REFILL), queue.ask("b", Rank.SESSION)]

    await settle()
    clock.now += 0.049
    await settle()
    before = list(queue.served)
    clock.now += 0.002
    await queue.has_served(2)

    assert before == []
    assert queue.served == ["b", "a"]
    await asyncio.gather(*tasks)


async def test_a_shorter_pause_does_not_end_a_longer_one(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    limiter.pause(0.05)
    limiter.pause(0.001)
    task = queue.ask("a")

    clock.now += 0.01
    await settle()

    assert queue.served == []
    clock.now += 0.05
    await task


async def test_a_pause_counts_for_those_who_wait_already(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    tasks = [queue.ask(str(number)) for number in range(4)]
    await queue.has_served(3)
    limiter.pause(0.05)

    clock.now += 0.01
    await settle()

    assert len(queue.served) == 3
    clock.now += 0.05
    await asyncio.gather(*tasks)


async def test_who_gives_up_while_waiting_holds_up_nobody(
    limiter: WriteLimiter, clock: Clock
) -> None:
    queue = Queue(limiter)
    first = [queue.ask("burst") for _ in range(3)]
    await queue.has_served(3)
    impatient = [queue.ask("impatient") for _ in range(50)]
    patient = queue.ask("patient", Rank.REFILL)
    await settle()

    for task in impatient:
        task.cancel()
    await asyncio.gather(*impatient, return_exceptions=True)
    clock.now += 0.001
    await queue.has_served(4)

    assert queue.served[3:] == ["patient"]
    await asyncio.gather(*first, patient)


async def test_a_turn_that_came_to_one_who_gave_up_goes_to_the_next(clock: Clock) -> None:
    limiter = WriteLimiter(per_second=1000, burst=1, clock=clock)
    queue = Queue(limiter)
    await queue.ask("burst")
    given_up, next_one = queue.ask("given up"), queue.ask("next")
    await settle()

    # The turn comes and the caller is cancelled before it has run on.
    clock.now += 0.001
    limiter._serve()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    await queue.has_served(2)

    assert given_up.cancelled()
    assert queue.served == ["burst", "next"]
    await next_one


async def test_all_who_wait_are_served_at_the_stated_rate() -> None:
    limiter = WriteLimiter(per_second=500, burst=10)
    queue, loop = Queue(limiter), asyncio.get_running_loop()
    began = loop.time()

    await asyncio.gather(*(queue.ask(str(number)) for number in range(110)))

    assert len(queue.served) == 110
    assert 0.19 < loop.time() - began < 2
