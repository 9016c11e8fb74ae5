"""Python SDK and the slipway command."""

from slipway_client.client import AsyncSlipway, Slipway
from slipway_client.errors import SlipwayProblem, UnexpectedAnswerError, UnreachableError
from slipway_client.transport import Retries, Timeouts

__all__ = [
    "AsyncSlipway",
    "Retries",
    "Slipway",
    "SlipwayProblem",
    "Timeouts",
    "UnexpectedAnswerError",
    "UnreachableError",
]
