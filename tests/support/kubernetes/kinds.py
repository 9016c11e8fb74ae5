"""The kinds of objects that the fake API server keeps, and what is particular to each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    plural: str
    group: str = ""
    """Empty: the core group."""

    namespaced: bool = True
    graceful: bool = False
    """Told to end before it is removed, and removed by who runs it."""

    subresources: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def title(self) -> str:
        """As messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


POD = Kind(
    "Pod",
    "pods",
    graceful=True,
    subresources=frozenset({"status", "binding", "eviction"}),
)
NODE = Kind("Node", "nodes", namespaced=False, subresources=frozenset({"status"}))
NAMESPACE = Kind("Namespace", "namespaces", namespaced=False)
SECRET = Kind("Secret", "secrets")
CONFIG_MAP = Kind("ConfigMap", "configmaps")
EVENT = Kind("Event", "events")
SERVICE_ACCOUNT = Kind("ServiceAccount", "serviceaccounts")
QUOTA = Kind("ResourceQuota", "resourcequotas")
LEASE = Kind("Lease", "leases", "coordination.k8s.io")
PRIORITY_CLASS = Kind("PriorityClass", "priorityclasses", "scheduling.k8s.io", namespaced=False)

KINDS = (
    POD, NODE, NAMESPACE, SECRET, CONFIG_MAP, EVENT, SERVICE_ACCOUNT, QUOTA, LEASE, PRIORITY_CLASS,
)  # fmt: skip

_BY_PLACE = {(kind.group, kind.plural): kind for kind in KINDS}
_BY_NAME = {(kind.api_version, kind.name): kind for kind in KINDS}


def kind_at(group: str, plural: str) -> Kind | None:
    return _BY_PLACE.get((group, plural))


def kind_called(api_version: str, name: str) -> Kind | None:
    return _BY_NAME.get((api_version, name))
