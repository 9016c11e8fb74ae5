"""Keys that callers make up, so that a request can be repeated without doing twice."""

from slipway_common.contracts.problems import Code, problem

MAX_KEY_LENGTH = 128


def require_usable_key(key: str) -> None:
    """It travels on in a header, and is kept in a table."""
    if not (key.isascii() and key.isprintable() and 1 <= len(key) <= MAX_KEY_LENGTH):
        raise problem(
            Code.INVALID_REQUEST,
            f"An Idempotency-Key is 1 to {MAX_KEY_LENGTH} printable ASCII characters.",
        )
