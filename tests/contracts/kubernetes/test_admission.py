"""What does not come in, and how it is told."""

import pytest

from slipway_scheduler.kubernetes.errors import (
    ConflictError,
    QuotaError,
    RefusedError,
    UnavailableError,
)
from support.kubernetes.asking import Server, pod
from support.waiting import eventually

ALLOWED = {
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "containers": [
        {
            "name": "main",
            "image": "none",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


async def test_a_namespace_that_is_not_there_takes_nothing(server: Server) -> None:
    error = await server.refused("POST", "/api/v1/namespaces/not-there/pods", pod("a"))

    assert type(error) is UnavailableError
    assert str(error) == 'namespaces "not-there" not found'


async def test_a_namespace_that_ends_takes_nothing_new(server: Server) -> None:
    name = f"{server.namespace}-ends"
    place = f"/api/v1/namespaces/{name}"
    await server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    kept = {"metadata": {"name": "kept", "finalizers": ["slipway.dev/kept"]}}
    await server.ask("POST", f"{place}/configmaps", kept)
    await server.ask("DELETE", place)

    error = await server.refused("POST", f"{place}/pods", pod("a"))

    assert type(error) is UnavailableError
    assert (error.status, error.reason) == (403, "Forbidden")
    assert str(error) == (
        f'pods "a" is forbidden: unable to create new content in namespace {name} because it is '
        "being terminated"
    )
    await server.ask(
        "PATCH",
        f"{place}/configmaps/kept",
        {"metadata": {"finalizers": None}},
        content_type="application/merge-patch+json",
    )


async def test_the_namespace_of_the_object_is_that_of_the_path(server: Server) -> None:
    error = await server.refused(
        "POST", server.path("pods"), pod("a", metadata={"namespace": "elsewhere"})
    )

    assert type(error) is RefusedError
    assert str(error) == (
        "the namespace of the provided object does not match the namespace sent on the request"
    )


async def test_a_full_namespace_tells_so_and_takes_more_when_something_ends(
    server: Server,
) -> None:
    await server.create(
        "resourcequotas", {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}}
    )

    async def is_counted() -> bool:
        quota = await server.get("resourcequotas", "few")
        # The fake counts as it is asked; the real server's controller writes down what it counted.
        return "hard" in quota.get("status", {"hard": {}})

    await eventually(is_counted, what="the first count")
    await server.create("pods", pod("a"))

    error = await server.refused("POST", server.path("pods"), pod("b"))

    assert type(error) is QuotaError
    assert (error.status, error.reason) == (403, "Forbidden")
    assert str(error) == (
        'pods "b" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, '
        "limited: pods=1"
    )
    await server.ask("DELETE", server.path("pods", "a"))

    async def has_room() -> bool:
        try:
            await server.create("pods", pod("c"))
        except QuotaError:
            return False
        return True

    await eventually(has_room, what="room")


@pytest.fixture
async def restricted(server: Server) -> Server:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    await server.ask(
        "PATCH",
        f"/api/v1/namespaces/{server.namespace}",
        label,
        content_type="application/merge-patch+json",
    )
    return server


async def test_a_restricted_namespace_takes_what_keeps_to_the_profile(restricted: Server) -> None:
    created = await restricted.create("pods", pod("a", **ALLOWED))

    assert created["metadata"]["name"] == "a"


@pytest.mark.parametrize(
    ("named", "more"),
    [
        ("host namespaces", {"hostNetwork": True}),
        ("host namespaces", {"hostPID": True}),
        (
            "runAsNonRoot != true",
            {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        ),
        ("seccompProfile", {"securityContext": {"runAsNonRoot": True}}),
        ("restricted volume types", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
        (
            "runAsUser=0",
            {"securityContext": {**ALLOWED["securityContext"], "runAsUser": 0}},
        ),
        (
            "forbidden sysctls",
            {
                "securityContext": {
                    **ALLOWED["securityContext"],
                    "sysctls": [{"name": "kernel.msgmax", "value": "1"}],
                }
            },
        ),
        (
            "allowPrivilegeEscalation != false",
            {"containers": [{"name": "main", "image": "none",
                             "securityContext": {"capabilities": {"drop": ["ALL"]}}}]},
        ),
        (
            "unrestricted capabilities",
            {"containers": [{"name": "main", "image": "none",
                             "securityContext": {"allowPrivilegeEscalation": False,
                                                 "capabilities": {"drop": ["ALL"],
                                                                  "add": ["SYS_PTRACE"]}}}]},
        ),
        (
            "unrestricted capabilities",
            {"initContainers": [{"name": "first", "image": "none",
                                 "securityContext": {"allowPrivilegeEscalation": False}}]},
        ),
        (
            "hostPort",
            {"containers": [{**ALLOWED["containers"][0],
                             "ports": [{"containerPort": 1024, "hostPort": 1024}]}]},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_restricted_namespace_refuses_what_does_not(
    restricted: Server, named: str, more: dict[str, object]
) -> None:
    error = await restricted.refused("POST", restricted.path("pods"), pod("a", **(ALLOWED | more)))

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (403, "Forbidden")
    assert str(error).startswith(
        'pods "a" is forbidden: violates PodSecurity "restricted:latest": '
    )
    assert named in str(error)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"serviceAccountName": "nobody"},
            (
                'pods "a" is forbidden: error looking up service account {namespace}/nobody: '
                'serviceaccount "nobody" not found'
            ),
        ),
        (
            {"priorityClassName": "absent"},
            'pods "a" is forbidden: no PriorityClass with name absent was found',
        ),
    ],
    ids=["service account", "priority class"],
)
async def test_what_a_pod_refers_to_must_be_there(
    server: Server, more: dict[str, object], message: str
) -> None:
    error = await server.refused("POST", server.path("pods"), pod("a", **more))

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (403, "Forbidden")
    assert str(error) == message.format(namespace=server.namespace)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (pod("Not_a-name"), 'Pod "Not_a-name" is invalid: metadata.name: Invalid value: '),
        (
            pod("a", labels={"not a key": "v"}),
            'Pod "a" is invalid: metadata.labels: Invalid value: "not a key": name part must',
        ),
        (
            pod("a", labels={"k": "v" * 64}),
            'Pod "a" is invalid: metadata.labels: ',
        ),
        (
            pod("a", metadata={"annotations": {"a": "x" * 262145}}),
            'Pod "a" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes',
        ),
        (
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
            'Pod "a" is invalid: spec.containers: Required value',
        ),
    ],
    ids=["name", "label key", "label value", "annotations", "no containers"],
)
async def test_what_is_not_well_formed_is_refused(
    server: Server, body: dict[str, object], message: str
) -> None:
    error = await server.refused("POST", server.path("pods"), body)

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (422, "Invalid")
    assert str(error).startswith(message)


async def test_a_dry_run_says_what_would_be_and_keeps_nothing(server: Server) -> None:
    answer = await server.ask("POST", server.path("pods"), pod("a"), params={"dryRun": "All"})

    assert answer["metadata"]["name"] == "a"
    assert "resourceVersion" not in answer["metadata"]
    assert await server.is_gone("pods", "a")


async def test_a_dry_run_is_refused_as_the_real_thing_would_be(server: Server) -> None:
    await server.create("pods", pod("a"))

    error = await server.refused("POST", server.path("pods"), pod("a"), params={"dryRun": "All"})

    assert type(error) is ConflictError


async def test_a_pod_is_bound_once(server: Server) -> None:
    await server.create("pods", pod("a"))
    target = {"kind": "Node", "name": "nowhere"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": target}

    await server.ask("POST", server.path("pods", "a", "binding"), binding)
    error = await server.refused("POST", server.path("pods", "a", "binding"), binding)

    bound = await server.get("pods", "a")
    assert bound["spec"]["nodeName"] == "nowhere"
    assert [
        (condition["type"], condition["status"]) for condition in bound["status"]["conditions"]
    ] == [("PodScheduled", "True")]
    assert type(error) is ConflictError
    assert str(error) == (
        'Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node '
        '"nowhere"'
    )


async def test_an_eviction_ends_a_pod_and_leaves_its_reason(server: Server) -> None:
    await server.create("pods", pod("a", nodeName="nowhere"))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}}

    answer = await server.ask("POST", server.path("pods", "a", "eviction"), eviction)

    left = await server.get("pods", "a")
    (disruption,) = [
        condition
        for condition in left["status"]["conditions"]
        if condition["type"] == "DisruptionTarget"
    ]
    assert answer["status"] == "Success"
    assert left["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (disruption["status"], disruption["reason"]) == ("True", "EvictionByEvictionAPI")
