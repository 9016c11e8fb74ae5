"""A cluster that lives as long as its fixture, on a loop and a thread of its own."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine, Iterator
from itertools import count
from typing import Any, TypeVar

from slipway_local.cluster.cluster import Cluster
from slipway_local.files import try_lock
from slipway_local.settings import read_settings
from support.kubectl import Kubectl

T = TypeVar("T")

START_SECONDS = 1800
"""The first start on a machine builds Kubernetes."""


class RunningCluster:
    """The cluster for tests of any kind, synchronous or on a loop of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._loop = asyncio.new_event_loop()
        # Children die with the thread that started them, so it must outlive all of them.
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.cluster.kubeconfig)

    def call(self, coroutine: Coroutine[Any, Any, T], *, seconds: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def start(self) -> None:
        self.call(self.cluster.start(), seconds=START_SECONDS)

    def stop(self) -> None:
        self.call(self.cluster.stop(), seconds=120)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@contextlib.contextmanager
def borrowed_cluster(*, nodes: str) -> Iterator[RunningCluster]:
    """A cluster of this process alone, whose images stay for the next one.

    Tests kill and pause its parts, so processes that run at the same time must not share one: each
    takes the first folder below the cache that nobody holds. Objects are forgotten at the start.
    """
    parent = read_settings().cache_folder / "test-clusters"
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        lock = try_lock(parent / f"{number}.lock")
        if lock is not None:
            break
    else:
        raise AssertionError
    running = RunningCluster(Cluster(parent / str(number), nodes=nodes, fresh=True))
    try:
        running.start()
        yield running
    finally:
        running.stop()
        os.close(lock)
