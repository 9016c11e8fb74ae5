"""How much a session gets, and for how long: the operator's offer within the account's limits."""

from dataclasses import dataclass
from typing import assert_never

from slipway_accounts.offers import Offers
from slipway_accounts.storage.account_store import AccountLimits
from slipway_accounts.targets import Target
from slipway_common.contracts.sessions import ExternalService, Resources, SessionKind
from slipway_common.contracts.views import Range


@dataclass(frozen=True, slots=True)
class Terms:
    version: str
    resources: Resources
    idle_seconds: int
    max_seconds: int
    external: ExternalService | None = None


def terms_of(target: Target, *, limits: AccountLimits, offers: Offers) -> Terms:
    """Settled when it is admitted; the target is known to be there."""
    longest = within(offers.max_session_range, limits.max_session_seconds)
    match target.kind:
        case SessionKind.EXTERNAL:
            return _of_service(target, longest=longest, offers=offers)
        case SessionKind.WEBUI:
            idle = limits.webui_idle_seconds
        case SessionKind.SOLVE:
            idle = limits.solve_idle_seconds
        case SessionKind.TASK:
            idle = limits.task_idle_seconds
        case _:
            assert_never(target.kind)
    return Terms(
        version=target.version,
        resources=offers.profiles[target.profile],
        idle_seconds=within(offers.idle_range, idle),
        max_seconds=longest,
    )


def _of_service(target: Target, *, longest: int, offers: Offers) -> Terms:
    """Figures and idle time are the service's own; the account's longest duration holds for all."""
    offer = offers.services[target.name]
    container = offer.container(target.name)
    return Terms(
        version=offer.version,
        resources=container.resources,
        idle_seconds=offer.idle_seconds,
        max_seconds=min(offer.max_seconds, longest),
        external=container,
    )


def within(allowed: Range, value: int) -> int:
    """The operator may have narrowed what is allowed since the value was set."""
    return min(max(value, allowed.lowest), allowed.highest)
