"""What makes and removes machines, as the node loop knows it.

Orders are absolute and may be repeated. None is waited for: an order is accepted or not, and how
it goes is asked later, also by another leader.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from slipway_common.errors import PermanentError, SlipwayError, TransientError
from slipway_scheduler.nodes.models import PoolStatus


class CloudError(SlipwayError):
    """The order was not carried out, or nobody knows whether it was."""


class CloudRefusedError(CloudError, PermanentError):
    """It cannot be had now: a quota is used up, or there are no such machines at present."""


class CloudBusyError(CloudError, TransientError):
    """Not accepted: something else is going on, or the pool has changed since it was looked at."""


class CloudThrottledError(CloudError, TransientError):
    """Not accepted: we ask too often."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CloudSilentError(CloudError, TransientError):
    """No answer: what was ordered may have been done all the same."""


@dataclass(frozen=True, slots=True)
class Progress:
    over: bool
    problem: str = ""
    """Why it failed; empty of one that goes on or went well."""


class NodePools(Protocol):
    async def look(self) -> Mapping[str, PoolStatus]:
        """Status by pool; may be some seconds old, but never older than our last order."""
        ...

    async def machines(self, pool: str) -> frozenset[str]:
        """Names of the machines that exist; nodes take these names."""
        ...

    async def set_size(self, status: PoolStatus, count: int) -> str:
        """Order that many machines in all; based on that status, where the cloud can check it.

        Returned is the operation to ask about, or nothing if it is done.
        """
        ...

    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        """Order these very machines to be removed; those that are gone already are no error."""
        ...

    async def progress(self, operation: str) -> Progress: ...
