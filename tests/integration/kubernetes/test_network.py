"""Who may talk to whom, by what the network policies say.

The network of the local cluster enforces no policies: these are read by an evaluator
(``support.network_policies``), which is itself held to known answers in ``test_evaluator.py``.
"""

import ipaddress
import json
import uuid
from collections.abc import Mapping

import pytest

from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.egress import Destination, policy
from support.kubectl import Manifest
from support.network_policies import Network, Party
from support.workloads import NAME, of_kind, workloads

NAMESPACES = {
    "kube-system": {},
    "monitoring": {"slipway.dev/reads-metrics": "true"},
    "somebody": {},
}
ACCOUNT, OTHER_ACCOUNT = uuid.uuid4(), uuid.uuid4()
METADATA = ("169.254.169.254", "168.63.129.16")
INTERNET = Party("203.0.113.7")
NODE = Party("10.224.0.4")

Case = tuple[str, str, int]

ALLOWED: tuple[Case, ...] = (
    ("browser", "gateway", 8080),
    ("session", "gateway", 8080),
    ("member", "gateway", 8080),
    ("gateway", "session", 8080),
    ("scheduler", "session", 8080),
    ("scheduler", "member", 8080),
    ("gateway", "accounts", 8081),
    ("gateway", "names", 53),
    ("session", "names", 53),
    ("scheduler", "names", 53),
    ("accounts", "kafka", 0),
    ("gateway", "kafka", 0),
    ("packager", "kafka", 0),
    ("scheduler", "kafka", 0),
    ("accounts", "postgres", 0),
    ("accounts", "storage", 0),
    ("gateway", "storage", 0),
    ("packager", "storage", 0),
    ("scheduler", "api server", 0),
    ("prometheus", "gateway", 9000),
    ("prometheus", "scheduler", 9000),
)
REFUSED: tuple[Case, ...] = (
    # From a session to anything but the gateway's one port and the name server.
    ("session", "other session", 8080),
    ("session", "other account's session", 8080),
    ("session", "member", 8080),
    ("session", "gateway", 9000),
    ("session", "accounts", 8081),
    ("session", "accounts", 9000),
    ("session", "scheduler", 9000),
    ("session", "packager", 9000),
    ("session", "kafka", 0),
    ("session", "postgres", 0),
    ("session", "storage", 0),
    ("session", "api server", 0),
    ("session", "api server", 443),
    ("session", "azure metadata", 80),
    ("session", "wire server", 80),
    ("session", "wire server", 32526),
    ("session", "wire server", 53),
    ("session", "internet", 443),
    ("session", "node", 10250),
    ("session", "prometheus", 9090),
    ("session", "names", 80),
    ("member", "azure metadata", 80),
    ("member", "kafka", 0),
    ("placeholder", "gateway", 8080),
    ("placeholder", "names", 53),
    ("unlabelled", "gateway", 8080),
    # To a session from anybody but gateway and scheduler.
    ("browser", "session", 8080),
    ("stranger", "session", 8080),
    ("stranger who says to be the gateway", "session", 8080),
    ("accounts", "session", 8080),
    ("packager", "session", 8080),
    ("prometheus", "session", 8080),
    ("gateway", "session", 8081),
    ("scheduler", "session", 22),
    # Services keep to their own.
    ("browser", "accounts", 8081),
    ("stranger", "accounts", 8081),
    ("stranger", "gateway", 9000),
    ("scheduler", "accounts", 8081),
    ("packager", "accounts", 8081),
    ("gateway", "postgres", 0),
    ("packager", "postgres", 0),
    ("scheduler", "postgres", 0),
    ("scheduler", "storage", 0),
    ("gateway", "api server", 0),
    ("accounts", "api server", 0),
    ("packager", "api server", 0),
    ("gateway", "azure metadata", 80),
    ("accounts", "azure metadata", 80),
    ("packager", "wire server", 80),
    ("scheduler", "azure metadata", 80),
    ("scheduler", "azure metadata", 443),
    ("scheduler", "wire server", 80),
    ("scheduler", "wire server", 443),
    ("scheduler", "node", 443),
    ("gateway", "internet", 443),
    ("packager", "internet", 443),
)


def sessions_pod(role: str | None, address: str, account: uuid.UUID = ACCOUNT) -> Party:
    own = {labels.ACCOUNT: str(account)} | ({labels.ROLE: role} if role else {})
    return Party(address, "slipway-sessions", own)


def outside(manifests: list[Manifest], *names: str) -> tuple[Party, int]:
    """What a policy of the overlay opens: an address in its block, and its port."""
    policies = of_kind(manifests, "NetworkPolicy")
    (spec,) = (policies[name]["spec"] for name in names if name in policies)
    (rule,) = spec["egress"]
    block = ipaddress.ip_network(rule["to"][0]["ipBlock"]["cidr"])
    address = block[1] if block.num_addresses > 1 else block[0]
    return Party(str(address)), rule["ports"][0]["port"]


class World:
    def __init__(self, manifests: list[Manifest], *, also: tuple[Manifest, ...] = ()) -> None:
        self.network = Network([*manifests, *also], namespaces=NAMESPACES)
        self.ports: dict[str, int] = {}
        self.parties: dict[str, Party] = {
            "browser": Party("198.51.100.20"),
            "internet": INTERNET,
            "node": NODE,
            "azure metadata": Party(METADATA[0]),
            "wire server": Party(METADATA[1]),
            "names": Party("10.244.9.2", "kube-system", {"k8s-app": "kube-dns"}),
            "prometheus": Party("10.244.9.3", "monitoring", {"app": "prometheus"}),
            "stranger": Party("10.244.9.4", "somebody", {"app": "stranger"}),
            "stranger who says to be the gateway": Party(
                "10.244.9.5", "somebody", {NAME: "gateway"}
            ),
            "session": sessions_pod(labels.SESSION_ROLE, "10.244.8.2"),
            "other session": sessions_pod(labels.SESSION_ROLE, "10.244.8.3"),
            "other account's session": sessions_pod(
                labels.SESSION_ROLE, "10.244.8.4", OTHER_ACCOUNT
            ),
            "member": sessions_pod(labels.MEMBER_ROLE, "10.244.8.5"),
            "placeholder": sessions_pod(labels.PLACEHOLDER_ROLE, "10.244.8.6"),
            "unlabelled": sessions_pod(None, "10.244.8.7"),
        }
        for number, (name, workload) in enumerate(sorted(workloads(manifests).items())):
            self.parties[name] = Party(f"10.244.7.{number + 2}", "slipway", workload.labels)
        for name, *others in (("kafka",), ("postgres",), ("storage", "blobs"), ("api server",)):
            policy_names = [name.replace(" ", "-"), *others]
            self.parties[name], self.ports[name] = outside(manifests, *policy_names)

    def allows(self, source: str, target: str, port: int, protocol: str = "TCP") -> bool:
        """Port 0 is the one that the target is known for."""
        return self.network.allows(
            self.parties[source], self.parties[target], port or self.ports[target], protocol
        )


@pytest.fixture(params=["generated", "production"])
def world(request: pytest.FixtureRequest, overlays: dict[str, list[Manifest]]) -> World:
    return World(overlays[request.param])


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: f"{case[0]} to {case[1]} {case[2]}")
def test_who_has_to_talk_may(world: World, case: Case):
    assert world.allows(*case)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[0]} to {case[1]} {case[2]}")
def test_nobody_else_may(world: World, case: Case):
    assert not world.allows(*case)


def test_names_are_asked_by_both_protocols(world: World):
    for source in ("session", "gateway", "accounts", "packager", "scheduler"):
        assert world.allows(source, "names", 53, "UDP")
        assert world.allows(source, "names", 53, "TCP")


def test_every_pod_of_both_namespaces_is_closed_before_it_is_opened(
    overlays: dict[str, list[Manifest]],
):
    for manifests in overlays.values():
        closed = {
            manifest["metadata"]["namespace"]
            for manifest in manifests
            if manifest["kind"] == "NetworkPolicy"
            and manifest["metadata"]["name"] == "default-deny"
            and manifest["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        }
        assert closed == {"slipway", "slipway-sessions"}


def test_ports_stand_as_numbers(overlays: dict[str, list[Manifest]]):
    """Networks differ in how well they know the names of ports."""
    for manifests in overlays.values():
        for found in of_kind(manifests, "NetworkPolicy").values():
            for rule in [*found["spec"].get("ingress", []), *found["spec"].get("egress", [])]:
                assert all(isinstance(entry["port"], int) for entry in rule.get("ports", []))


def account_policy(*networks: str, never: tuple[str, ...] = ()) -> Mapping[str, object]:
    destinations = [Destination.model_validate({"network": each}) for each in networks]
    return policy(
        ACCOUNT,
        destinations,
        namespace="slipway-sessions",
        never=[ipaddress.ip_network(each) for each in never],
    )


@pytest.fixture(params=["generated", "production"])
def opened(request: pytest.FixtureRequest, overlays: dict[str, list[Manifest]]) -> World:
    """One account may go everywhere, the operator has said, but not into the cluster."""
    manifests = overlays[request.param]
    scheduler = workloads(manifests)["scheduler"].environment
    stated = scheduler.get("SLIPWAY_SCHEDULER_KUBERNETES__NEVER_NETWORKS", "[]")
    never = ("10.0.0.0/8", *json.loads(stated))
    everywhere = account_policy("0.0.0.0/0", never=never)
    return World(manifests, also=(dict(everywhere),))


def test_an_account_reaches_what_the_operator_allows_it_and_no_other_account_does(opened: World):
    network = opened.network
    assert network.allows(opened.parties["session"], INTERNET, 443)
    assert network.allows(opened.parties["member"], INTERNET, 443)
    assert not network.allows(opened.parties["other account's session"], INTERNET, 443)


@pytest.mark.parametrize(
    "target",
    ["azure metadata", "wire server", "kafka", "postgres", "storage", "api server", "accounts",
     "other session", "other account's session", "node", "prometheus"],
)  # fmt: skip
def test_an_account_that_may_go_everywhere_reaches_nothing_of_ours(opened: World, target: str):
    for port in {opened.ports.get(target, 80), 80, 443, 8080, 8081, 9000}:
        assert not opened.allows("session", target, port)


def test_no_destination_opens_the_metadata_of_a_cloud(overlays: dict[str, list[Manifest]]):
    for network in ("0.0.0.0/0", "169.254.0.0/16", "169.254.169.254/32", "168.63.129.16/32"):
        world = World(overlays["production"], also=(dict(account_policy(network)),))
        for target in ("azure metadata", "wire server"):
            assert not world.allows("session", target, 80)
