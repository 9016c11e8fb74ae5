"""Two kinds of failure, told apart by what the caller can do about them."""


class SlipwayError(Exception):
    """Base of all errors that this project raises on purpose."""


class TransientError(SlipwayError):
    """Trying again later can help: something that we depend on is away or busy."""


class PermanentError(SlipwayError):
    """Trying again cannot help: the request or the message itself is at fault."""
