"""The evaluator of network policies finds what is open as well as what is closed.

Else all that it finds refused would prove nothing.
"""

import pytest

from support.kubectl import Manifest
from support.network_policies import Network, Party

INTERNET = Party("203.0.113.7")
POD = Party("10.0.0.1", "here", {"app": "a"})
PEER = Party("10.0.0.2", "here", {"app": "b"})
ELSEWHERE = Party("10.0.0.3", "there", {"app": "b"})
DENY = {
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny", "namespace": "here"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}


def network_of(*policies: Manifest) -> Network:
    return Network(policies, namespaces={"here": {"team": "x"}, "there": {}})


def policy(**spec: object) -> Manifest:
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": "one", "namespace": "here"},
        "spec": {"podSelector": {"matchLabels": {"app": "a"}}, **spec},
    }


def test_without_policies_all_is_open():
    assert network_of().allows(POD, ELSEWHERE, 1)


def test_what_is_selected_for_one_direction_is_closed_in_it_alone():
    network = network_of(policy(ingress=[]))

    assert not network.allows(PEER, POD, 1)
    assert network.allows(POD, PEER, 1)


def test_a_policy_with_egress_rules_and_no_types_closes_both():
    network = network_of(policy(egress=[{"ports": [{"port": 9}]}]))

    assert not network.allows(PEER, POD, 1)
    assert not network.allows(POD, PEER, 1)


def test_policies_add_up():
    open_egress = policy(policyTypes=["Egress"], egress=[{}])
    network = network_of(DENY, open_egress)

    assert network.allows(POD, ELSEWHERE, 1)
    assert not network.allows(PEER, ELSEWHERE, 1)


def test_both_ends_must_agree():
    open_egress = policy(policyTypes=["Egress"], egress=[{}])

    assert not network_of(DENY, open_egress).allows(POD, PEER, 1)


def test_a_selector_of_pods_alone_means_the_policy_s_own_namespace():
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "b"}}}]}
    network = network_of(policy(ingress=[rule]))

    assert network.allows(PEER, POD, 1)
    assert not network.allows(ELSEWHERE, POD, 1)


def test_two_entries_are_either_and_two_selectors_in_one_are_both():
    both = {"namespaceSelector": {"matchLabels": {"team": "x"}}, "podSelector": {}}
    narrow = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "c"}}}

    assert network_of(policy(ingress=[{"from": [narrow, both]}])).allows(PEER, POD, 1)
    assert not network_of(policy(ingress=[{"from": [narrow]}])).allows(PEER, POD, 1)


def test_ports_protocols_and_ranges_count():
    rule = {"ports": [{"port": 5, "endPort": 7}, {"protocol": "UDP", "port": 53}]}
    network = network_of(policy(ingress=[rule]))

    assert [port for port in range(1, 60) if network.allows(PEER, POD, port)] == [
        5,
        6,
        7,
    ]
    assert network.allows(PEER, POD, 53, "UDP")


def test_a_block_leaves_out_its_exceptions():
    block = {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}
    network = network_of(policy(policyTypes=["Egress"], egress=[{"to": [{"ipBlock": block}]}]))

    assert network.allows(POD, INTERNET, 443)
    assert not network.allows(POD, Party("169.254.169.254"), 80)


@pytest.mark.parametrize(
    ("operator", "values", "holds"),
    [
        ("In", ["a", "z"], True),
        ("In", ["z"], False),
        ("NotIn", ["z"], True),
        ("NotIn", ["a"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
    ],
)
def test_expressions_are_those_of_kubernetes(operator: str, values: list[str] | None, holds: bool):
    expression = {"key": "app", "operator": operator, **({"values": values} if values else {})}
    closed = policy(podSelector={"matchExpressions": [expression]}, ingress=[])

    assert network_of(closed).allows(PEER, POD, 1) is not holds
