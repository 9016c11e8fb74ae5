"""Which stack is meant by what was asked for, and what cannot be asked for."""

from slipway_local.environment import PodPlace
from slipway_local.errors import LocalError
from slipway_local.for_pods import StackForPods
from slipway_local.in_pods import InPods, Record, Sessions
from slipway_local.service import SERVICES
from slipway_local.settings import Settings, repository
from slipway_local.stack import Stack

# Where people expect a portal; another port is chosen if it is taken.
PREFERRED_PORTS = {"gateway": 8080}
PROFILES_VARIABLE = "SLIPWAY_ACCOUNTS_RESOURCE_PROFILES_FILE"


def what_in_pods(sessions: Sessions, *, parts_only: bool, for_pods: bool) -> InPods:
    """Raise ValueError if the options contradict each other."""
    match sessions:
        case Sessions.PODS if parts_only or for_pods:
            raise ValueError("--sessions pods needs the services: leave out the other option")
        case Sessions.PODS:
            return InPods.SESSIONS
        case Sessions.PROCESSES:
            return InPods.SERVICES if for_pods else InPods.NOTHING


def make_stack(settings: Settings, *, parts_only: bool, record: Record) -> Stack:
    match record.in_pods:
        case InPods.SERVICES:
            return StackForPods(_place(record), settings=settings, preferred_ports=PREFERRED_PORTS)
        case InPods.SESSIONS:
            # Its gateway listens on all addresses, of which a door may get that port at any time.
            # A machine of one's own has room for few sessions of the size that accounts offers.
            profiles = repository() / "k8s/overlays/dev/resource-profiles.json"
            return Stack(
                settings=settings,
                pods=_place(record),
                service_environment={PROFILES_VARIABLE: str(profiles)},
            )
        case InPods.NOTHING if parts_only:
            return Stack(settings=settings, services=())
        case InPods.NOTHING:
            return Stack(settings=settings, preferred_ports=PREFERRED_PORTS)


def _place(record: Record) -> PodPlace:
    if record.place is None:
        raise LocalError("it is not known where pods shall run: start with: up")
    return record.place


def unheard_variables(settings: Settings) -> list[str]:
    """What is set for our services: people expect it to count, and here it does not."""
    prefixes = tuple(f"SLIPWAY_{service.name.upper()}_" for service in SERVICES)
    return sorted(name for name in settings.full if name.startswith(prefixes))
