"""In what condition a member is: of use, useless, or one of a template that does not work."""

from dataclasses import replace
from typing import Any

import pytest

from slipway_common.contracts.sessions import Resources
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.manifests import Template
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.warm.condition import (
    START_SECONDS,
    is_at_fault,
    is_broken,
    is_member,
    is_retired,
    least_useful_first,
    revision_of,
)
from unit.scheduler import seen

TEMPLATE = Template(namespace="sessions", image="runner:1", gateway_url="http://gateway")


def member(body: seen.Json, *, role: str = labels.MEMBER_ROLE, **metadata: Any) -> Pod:
    body["metadata"] |= metadata
    body["metadata"]["labels"] = {labels.ROLE: role, labels.POOL: "a" * 32}
    return seen.pod(body)


def broken(body: seen.Json) -> bool:
    return is_broken(member(body), now=seen.NOW)


def image_trouble(*, started: float) -> seen.Json:
    waiting = seen.waiting("ImagePullBackOff", "denied")
    return seen.placed(seen.container(state=waiting), started=started)


def starting(age: float) -> seen.Json:
    return seen.placed(seen.container(state=seen.running(age)), age=age, started=age)


def test_members_and_those_that_were_retired_are_told_apart() -> None:
    ending = seen.ending(seen.answering())

    assert is_member(member(seen.answering()))
    assert not is_member(member(ending))
    assert not is_member(member(seen.answering(), role=labels.SESSION_ROLE))
    assert is_retired(member(seen.answering(), role=labels.RETIRED_ROLE))
    assert not is_retired(member(ending, role=labels.RETIRED_ROLE))


def test_one_that_waits_is_of_use_however_long_it_has_waited() -> None:
    assert not broken(seen.answering())


def test_one_that_ended_is_broken() -> None:
    assert broken(seen.over(0))
    assert broken(seen.over(1))


def test_one_whose_image_cannot_be_had_is_broken_after_seconds() -> None:
    assert not broken(image_trouble(started=5))
    assert broken(image_trouble(started=11))


def test_one_that_is_not_ready_long_after_it_was_placed_never_will_be() -> None:
    assert not broken(starting(START_SECONDS))
    assert broken(starting(START_SECONDS + 1))


def test_one_that_waits_for_a_node_is_not_broken_however_long_that_takes() -> None:
    body = seen.unplaced(unschedulable=True)
    body["metadata"]["creationTimestamp"] = seen.at(5000)

    assert not broken(body)


def test_one_on_a_node_that_fell_silent_is_not_broken_by_that() -> None:
    body = seen.with_condition(seen.answering(), seen.condition("Ready", "False"))
    body["status"]["startTime"] = seen.at(5000)

    assert not broken(body)


@pytest.mark.parametrize(
    ("body", "at_fault"),
    [
        (seen.over(1), True),
        (seen.over(137, word="OOMKilled"), True),
        (seen.over(1, message=seen.last_words("app-failed")), True),
        (image_trouble(started=11), True),
        (starting(START_SECONDS + 1), True),
        (seen.over(0, message=seen.last_words("idle")), False),
        (seen.over(0, message=seen.last_words("stopped")), False),
        (seen.over(137, phase="Failed", status={"reason": "Evicted"}), False),
        (
            seen.with_condition(
                seen.over(137), seen.condition("DisruptionTarget", reason="EvictionByEvictionAPI")
            ),
            False,
        ),
        (
            seen.with_condition(
                seen.over(137), seen.condition("DisruptionTarget", reason="DeletionByTaintManager")
            ),
            False,
        ),
    ],
    ids=[
        "silent crash",
        "memory",
        "crash",
        "image",
        "never ready",
        "idle",
        "stopped",
        "evicted",
        "drained",
        "node lost",
    ],
)
def test_what_a_machine_did_does_not_speak_against_the_template(
    body: seen.Json, at_fault: bool
) -> None:
    assert broken(body)
    assert is_at_fault(member(body)) is at_fault


def test_the_least_useful_are_those_that_are_not_ready_and_then_the_youngest() -> None:
    old = member(seen.answering(), name="old", creationTimestamp=seen.at(500))
    young = member(seen.answering(), name="young", creationTimestamp=seen.at(50))
    new = member(seen.placed(), name="new", creationTimestamp=seen.at(900))

    found = least_useful_first([old, young, new])

    assert [pod.metadata.name for pod in found] == ["new", "young", "old"]


def test_a_revision_is_the_same_until_something_about_the_pods_changes() -> None:
    before = revision_of(TEMPLATE, Resources())

    assert revision_of(replace(TEMPLATE), Resources()) == before
    changes = [
        replace(TEMPLATE, image="runner:2"),
        replace(TEMPLATE, gateway_url="http://other"),
        replace(TEMPLATE, runtime_class="gvisor"),
        replace(TEMPLATE, node_pools={"standard": "general"}),
    ]
    assert len({before, *(revision_of(change, Resources()) for change in changes)}) == 5
    assert revision_of(TEMPLATE, Resources(memory_mib=4096)) != before
