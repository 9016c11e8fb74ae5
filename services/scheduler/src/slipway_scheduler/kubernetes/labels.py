"""Labels and annotations of what is ours in the cluster. Users never name any of them."""

from typing import Final

DOMAIN: Final = "slipway.dev"


def prefixed(name: str) -> str:
    return f"{DOMAIN}/{name}"


ROLE: Final = prefixed("role")
"""session, member or placeholder; a member that is claimed becomes a session."""

SESSION: Final = prefixed("session")
ACCOUNT: Final = prefixed("account")
KIND: Final = prefixed("kind")
POOL: Final = prefixed("warm-pool")
"""Of a member: which sessions it can become; see ``warm.pools.pool_name``."""

UNIT: Final = prefixed("unit")
"""On a session's secret: which pod is to be its unit, committed before anything is done to it."""

ENDING: Final = prefixed("ending")
"""On a pod: why we end it, in JSON; whoever concludes it later reads it here."""

REVISION: Final = prefixed("revision")
"""On a member: of the template that it was made from; another one makes it stale."""

SESSION_ROLE: Final = "session"
MEMBER_ROLE: Final = "member"
RETIRED_ROLE: Final = "retired"
"""A member that is being removed: no claim takes it any more."""

PLACEHOLDER_ROLE: Final = "placeholder"

FINALIZER: Final = prefixed("concluded")
"""Keeps a session's pod until its end was told, whoever deletes it."""
