"""The queue of keys that want a look: once each, never by two at a time, and none is lost."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_scheduler.workqueue import WorkQueue

SOON = 0.02
LATE = 30.0


class Desk:
    """Looks at keys, and holds the ones that it is told to hold."""

    def __init__(self, queue: WorkQueue[str]) -> None:
        self.queue = queue
        self.seen: list[str] = []
        self.at_work: Counter[str] = Counter()
        self.most_at_work = 0
        self.held: dict[str, asyncio.Event] = {}
        self.changed = asyncio.Event()

    async def handle(self, key: str) -> None:
        self.seen.append(key)
        self.at_work[key] += 1
        self.most_at_work = max(self.most_at_work, self.at_work[key])
        self.changed.set()
        try:
            if key in self.held:
                await self.held[key].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.at_work[key] -= 1

    async def until_seen(self, key: str, times: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.seen.count(key) < times:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def queue() -> WorkQueue[str]:
    return WorkQueue()


@pytest.fixture
async def desk(queue: WorkQueue[str]):
    desk = Desk(queue)
    workers = [asyncio.create_task(queue.work(desk.handle, until_idle=False)) for _ in range(4)]
    yield desk
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def drain(queue: WorkQueue[str], desk: Desk) -> None:
    async with asyncio.timeout(5):
        await queue.work(desk.handle, until_idle=True)


async def test_a_key_that_is_asked_for_often_is_looked_at_once(queue: WorkQueue[str]) -> None:
    desk = Desk(queue)
    for _ in range(100):
        queue.add("a")
    queue.add("b")

    await drain(queue, desk)

    assert desk.seen == ["a", "b"]


async def test_a_key_that_is_asked_for_while_somebody_looks_at_it_is_looked_at_once_more(
    queue: WorkQueue[str], desk: Desk
) -> None:
    desk.held["a"] = asyncio.Event()
    queue.add("a")
    await desk.until_seen("a")
    for _ in range(10):
        queue.add("a")

    queue.add("b")
    await desk.until_seen("b")
    assert desk.seen == ["a", "b"]
    desk.held.pop("a").set()
    await desk.until_seen("a", times=2)

    queue.add("c")
    await desk.until_seen("c")
    assert desk.seen == ["a", "b", "a", "c"]
    assert desk.most_at_work == 1


async def test_a_slow_key_holds_up_no_other(queue: WorkQueue[str], desk: Desk) -> None:
    desk.held["slow"] = asyncio.Event()
    queue.add("slow")
    for number in range(50):
        queue.add(f"quick {number}")

    for number in range(50):
        await desk.until_seen(f"quick {number}")

    desk.held["slow"].set()


async def test_workers_who_wait_are_woken_by_the_first_key(
    queue: WorkQueue[str], desk: Desk
) -> None:
    queue.add("first")
    await desk.until_seen("first")

    queue.add("second")
    await desk.until_seen("second")


async def test_a_delayed_key_comes_when_its_time_has_come_and_not_before(
    queue: WorkQueue[str], desk: Desk
) -> None:
    loop = asyncio.get_running_loop()
    since = loop.time()

    queue.add_after("a", SOON)

    await desk.until_seen("a")
    assert loop.time() - since >= SOON


async def test_a_delayed_key_that_somebody_asks_for_comes_at_once_and_only_once(
    queue: WorkQueue[str], desk: Desk
) -> None:
    queue.add_after("a", SOON)
    queue.add("a")
    await desk.until_seen("a")

    queue.add_after("later", 2 * SOON)
    await desk.until_seen("later")

    assert desk.seen == ["a", "later"]


@pytest.mark.parametrize("delays", [(LATE, SOON), (SOON, LATE)])
async def test_of_two_delays_the_shorter_one_counts(
    queue: WorkQueue[str], desk: Desk, delays: tuple[float, float]
) -> None:
    for seconds in delays:
        queue.add_after("a", seconds)

    await desk.until_seen("a")
    queue.add_after("later", 2 * SOON)
    await desk.until_seen("later")

    assert desk.seen == ["a", "later"]


async def test_a_delay_for_a_key_that_is_ready_changes_nothing(queue: WorkQueue[str]) -> None:
    desk = Desk(queue)
    queue.add("a")
    queue.add_after("a", LATE)

    await drain(queue, desk)

    assert desk.seen == ["a"]


async def test_a_worker_that_is_cancelled_leaves_its_key_to_whoever_asks_again(
    queue: WorkQueue[str],
) -> None:
    desk = Desk(queue)
    desk.held["a"] = asyncio.Event()
    worker = asyncio.create_task(queue.work(desk.handle, until_idle=False))
    queue.add("a")
    await desk.until_seen("a")
    queue.add("a")
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    del desk.held["a"]

    await drain(queue, desk)

    assert desk.seen == ["a", "a"]
    assert len(queue) == 0


async def test_a_worker_that_is_cancelled_while_it_waits_keeps_nobody_from_the_next_key(
    queue: WorkQueue[str], desk: Desk
) -> None:
    waiting = asyncio.create_task(queue.work(desk.handle, until_idle=False))
    queue.add("a")
    await desk.until_seen("a")
    waiting.cancel()
    queue.add("b")

    await desk.until_seen("b")


async def test_what_fails_ends_its_worker_and_not_the_queue(queue: WorkQueue[str]) -> None:
    async def fail(key: str) -> None:
        raise ValueError(key)

    queue.add("a")
    with pytest.raises(ValueError, match="a"):
        await queue.work(fail, until_idle=True)
    desk = Desk(queue)
    queue.add("a")

    await drain(queue, desk)

    assert desk.seen == ["a"]


async def test_keys_that_want_nothing_leave_room_for_others(queue: WorkQueue[str]) -> None:
    async def nothing(key: str) -> None:
        queue.add(key)  # and again, without a pause

    worker = asyncio.create_task(queue.work(nothing, until_idle=False))
    queue.add("a")

    async with asyncio.timeout(5):
        for _ in range(100):
            await asyncio.sleep(0)

    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_settled_waits_for_who_is_busy_and_drops_what_is_ready(
    queue: WorkQueue[str],
) -> None:
    desk = Desk(queue)
    desk.held["mine"] = asyncio.Event()
    worker = asyncio.create_task(queue.work(desk.handle, until_idle=False))
    queue.add("mine")
    await desk.until_seen("mine")
    queue.add("mine")
    for key in ("mine too", "yours"):
        queue.add(key)
    queue.add_after("mine later", SOON)

    settled = asyncio.create_task(queue.settled(lambda key: key.startswith("mine")))
    await asyncio.sleep(0)
    assert not settled.done()
    desk.held.pop("mine").set()
    async with asyncio.timeout(5):
        await settled

    await desk.until_seen("yours")
    queue.add_after("yours later", 2 * SOON)
    await desk.until_seen("yours later")
    assert desk.seen == ["mine", "yours", "yours later"]
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_settled_returns_at_once_when_nobody_is_busy(queue: WorkQueue[str]) -> None:
    queue.add("a")

    async with asyncio.timeout(5):
        await queue.settled(lambda _: True)

    assert len(queue) == 0


@given(
    script=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["add", "add", "later", "yield"])),
        max_size=60,
    ),
    workers=st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_asked_in_whatever_order_each_last_wish_is_followed_by_a_look(
    script: list[tuple[str, str]], workers: int
) -> None:
    async def play() -> None:
        queue: WorkQueue[str] = WorkQueue()
        asked: Counter[str] = Counter()
        answered: Counter[str] = Counter()
        busy: set[str] = set()

        async def handle(key: str) -> None:
            assert key not in busy
            busy.add(key)
            answered[key] = asked[key]
            await asyncio.sleep(0)
            busy.discard(key)

        async with asyncio.timeout(5):
            hands = [
                asyncio.create_task(queue.work(handle, until_idle=False)) for _ in range(workers)
            ]
            for key, what in script:
                match what:
                    case "add":
                        asked[key] += 1
                        queue.add(key)
                    case "later":
                        asked[key] += 1
                        queue.add_after(key, 0.001)
                    case _:
                        await asyncio.sleep(0)
            while answered != asked:
                await asyncio.sleep(0.001)
            for hand in hands:
                hand.cancel()
            await asyncio.gather(*hands, return_exceptions=True)

    asyncio.run(play())
