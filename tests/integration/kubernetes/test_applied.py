"""Each overlay, applied to a real API server until every rollout is over.

Its nodes are fake, so no container runs; all that decides whether one may is real: admission, Pod
Security, quota, limits, the scheduler of pods, and the controllers.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from slipway_common.contracts.base import AccountId, SessionId, utc_now
from slipway_common.contracts.sessions import Resources, SessionKind, SessionWanted
from slipway_local.secrets import Secrets
from slipway_scheduler.kubernetes import manifests as sessions
from slipway_scheduler.kubernetes.errors import QuotaError, error_of
from slipway_scheduler.kubernetes.manifests import Template
from slipway_scheduler.nodes.placeholders import PlaceholderStyle
from slipway_scheduler.nodes.placeholders import manifest as placeholder
from slipway_scheduler.nodes.specs import PlaceholderSpec, PoolSpec
from support.kubectl import Kubectl, Manifest, RefusedError
from support.running_cluster import RunningCluster
from support.workloads import of_kind, workloads

NAMESPACE = "slipway-sessions"
ROLLOUT = "--timeout=120s"


@dataclass(frozen=True)
class Applied:
    name: str
    manifests: list[Manifest]
    kubectl: Kubectl


@pytest.fixture(scope="module", params=["dev", "generated", "production"])
def applied(
    request: pytest.FixtureRequest,
    cluster: RunningCluster,
    overlays: dict[str, list[Manifest]],
    make_secrets: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Applied]:
    manifests, kubectl = overlays[request.param], cluster.kubectl
    add_nodes(cluster, 2, pool="default")
    add_nodes(cluster, 3, pool="services")
    kubectl.apply(of_kind(manifests, "Namespace").values())
    secrets = Secrets(tmp_path_factory.mktemp("secrets"))
    secrets.make()
    secrets.blob_connection.write_text("unused")
    secrets.postgres_passfile.write_text("unused")
    extra = [*make_secrets.manifests(secrets.folder), *volumes_for(manifests)]
    kubectl.apply(manifests, dry_run=True)
    kubectl.apply([*extra, *manifests])
    yield Applied(request.param, manifests, kubectl)
    kubectl.delete([*manifests, *extra])


def add_nodes(cluster: RunningCluster, count: int, *, pool: str) -> None:
    for name in cluster.call(cluster.cluster.add_fake_nodes(count, pool=pool)):
        disk = {"ephemeral-storage": "100Gi"}
        patch = json.dumps({"status": {"allocatable": disk, "capacity": disk}})
        cluster.kubectl.run("patch", "node", name, "--subresource=status", f"--patch={patch}")


def volumes_for(manifests: list[Manifest]) -> list[Manifest]:
    """What the cloud would make for a claim that brings no volume of its own."""
    (claim,) = of_kind(manifests, "PersistentVolumeClaim").values()
    if "volumeName" in claim["spec"]:
        return []
    spec = {
        "accessModes": claim["spec"]["accessModes"],
        "capacity": {"storage": "1Gi"},
        "hostPath": {"path": "/nowhere"},
        "storageClassName": claim["spec"].get("storageClassName", ""),
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{uuid.uuid4().hex[:8]}"},
            "spec": spec,
        }
    ]


def test_every_service_comes_up(applied: Applied):
    for service, workload in workloads(applied.manifests).items():
        kind = workload.manifest["kind"].lower()
        applied.kubectl.run(
            "rollout", "status", ROLLOUT, f"{kind}/slipway-{service}", namespace="slipway"
        )
    pods = applied.kubectl.list("pods", namespace="slipway")
    assert all(pod["status"]["phase"] == "Running" for pod in pods)
    if applied.name == "production":
        pools = {
            node["metadata"]["name"]: node["metadata"]["labels"]["slipway.dev/pool"]
            for node in applied.kubectl.list("nodes")
        }
        assert {pools[pod["spec"]["nodeName"]] for pod in pods} == {"services"}


def test_applying_it_again_changes_nothing(applied: Applied):
    def versions() -> dict[str, str]:
        return {
            one["metadata"]["name"]: one["metadata"]["generation"]
            for kind in ("deployments", "statefulsets")
            for one in applied.kubectl.list(kind, namespace="slipway")
        }

    before = versions()
    applied.kubectl.apply(applied.manifests)
    assert versions() == before


def test_what_a_service_is_replaced_by_must_keep_to_the_rules_as_well(applied: Applied):
    with pytest.raises(RefusedError, match="violates PodSecurity"):
        applied.kubectl.create(plain_pod("slipway"), dry_run=True)


@pytest.fixture(scope="module")
def namespace(cluster: RunningCluster, manifests_folder: Path) -> Iterator[Kubectl]:
    """The place of sessions alone, as it can be applied by itself."""
    manifests = Kubectl().build(manifests_folder / "base/sessions")
    kubectl = cluster.kubectl
    add_nodes(cluster, 1, pool="default")
    kubectl.apply(of_kind(manifests, "Namespace").values())
    kubectl.apply(manifests, dry_run=True)
    kubectl.apply(manifests)
    yield kubectl
    kubectl.delete(manifests)


def plain_pod(namespace: str = NAMESPACE, **container: object) -> Manifest:
    """What anybody writes who has not heard of rules."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"plain-{uuid.uuid4().hex[:8]}", "namespace": namespace},
        "spec": {"containers": [{"name": "one", "image": "slipway-runner:dev", **container}]},
    }


def wanted(**more: object) -> SessionWanted:
    values = {
        "account_id": AccountId(uuid.uuid4()),
        "session_id": SessionId(uuid.uuid4()),
        "kind": SessionKind.WEBUI,
        "app_name": "depots",
        "app_version": "1.0.0",
        "runtime": "1.0.0.1-linux64-x64",
        "admitted_at": utc_now(),
        **more,
    }
    return SessionWanted.model_validate(values)


def session_pod(**more: object) -> Manifest:
    template = Template(
        namespace=NAMESPACE, image="slipway-runner:dev", gateway_url="http://g:8080"
    )
    return sessions.session_pod(wanted(**more), template, secret_uid=str(uuid.uuid4()), pool="none")


def test_a_session_and_a_placeholder_are_let_in(namespace: Kubectl):
    style = PlaceholderStyle(image="slipway-pause:1", namespace=NAMESPACE)
    spec = PoolSpec(
        name="default",
        cpu=4,
        memory_mib=8192,
        maximum=3,
        placeholders=PlaceholderSpec(cpu=1, memory_mib=1024, count=1),
    )

    session = namespace.create(session_pod(), dry_run=True)
    kept = namespace.create(placeholder(spec, "slipway-placeholder-default-0", style), dry_run=True)

    assert session["spec"]["priority"] == 10000
    assert session["spec"]["serviceAccountName"] == "slipway-session"
    assert kept["spec"]["priority"] == -10
    assert kept["spec"]["preemptionPolicy"] == "Never"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"hostNetwork": True}},
        {"spec": {"hostPID": True}},
        {"spec": {"hostIPC": True}},
        {"pod": {"runAsNonRoot": False}},
        {"pod": {"runAsUser": 0}},
        {"pod": {"seccompProfile": {"type": "Unconfined"}}},
        {"pod": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        {"container": {"privileged": True, "allowPrivilegeEscalation": True}},
        {"container": {"windowsOptions": {"hostProcess": True}}},
        {"container": {"allowPrivilegeEscalation": True}},
        {"container": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}},
        {"container": {"capabilities": {}}},
        {"container": {"procMount": "Unmasked"}, "spec": {"hostUsers": False}},
        {"volume": {"hostPath": {"path": "/"}}},
        {"port": {"containerPort": 8080, "hostPort": 8080}},
    ],
    ids=json.dumps,
)
def test_a_pod_that_breaks_the_rules_is_refused(namespace: Kubectl, change: dict[str, Manifest]):
    pod = session_pod()
    spec = pod["spec"]
    (container,) = spec["containers"]
    spec |= change.get("spec", {})
    spec["securityContext"] |= change.get("pod", {})
    container["securityContext"] |= change.get("container", {})
    if "volume" in change:
        spec["volumes"].append({"name": "more", **change["volume"]})
    if "port" in change:
        container["ports"] = [change["port"]]

    with pytest.raises(RefusedError, match=r"violates PodSecurity|disallowed by cluster policy"):
        namespace.create(pod, dry_run=True)


def test_a_pod_without_any_care_is_refused(namespace: Kubectl):
    with pytest.raises(RefusedError, match=r'violates PodSecurity "restricted:v1\.35"'):
        namespace.create(plain_pod(), dry_run=True)


@pytest.mark.parametrize(
    "manifest",
    [
        {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "containers": [{"name": "one", "image": "slipway-runner:dev"}],
                    }
                }
            },
        },
    ],
    ids=lambda manifest: manifest["kind"],
)
def test_nothing_but_pods_and_secrets_has_room_there(namespace: Kubectl, manifest: Manifest):
    named = manifest | {"metadata": {"name": "stranger", "namespace": NAMESPACE}}

    with pytest.raises(RefusedError, match="exceeded quota: sessions"):
        namespace.create(named)


def test_a_namespace_that_is_full_says_so_in_words_that_the_scheduler_knows(namespace: Kubectl):
    large = Resources(profile="large", memory_mib=256 * 1024, cpu_millis=1000)
    made = []
    with pytest.raises(RefusedError) as refused:
        for _ in range(10):
            pod = session_pod(resources=large)
            # Its secret is not there: it would be removed at once, and kept by its finalizer.
            pod["metadata"] |= {"finalizers": [], "ownerReferences": []}
            made.append(namespace.create(pod))

    assert len(made) == 7  # 2000 Gi hold so many of 256 Gi
    answer = json.dumps({"message": str(refused.value), "reason": "Forbidden"}).encode()
    assert isinstance(error_of(403, answer), QuotaError)
    namespace.delete(made)


def test_a_pod_that_asks_for_too_much_is_refused(namespace: Kubectl):
    huge = Resources(profile="huge", memory_mib=300 * 1024)

    with pytest.raises(RefusedError, match="maximum memory usage per Container is 256Gi"):
        namespace.create(session_pod(resources=huge), dry_run=True)


def test_a_pod_that_says_nothing_gets_little(namespace: Kubectl):
    pod = session_pod()
    del pod["spec"]["containers"][0]["resources"]

    given = namespace.create(pod, dry_run=True)["spec"]["containers"][0]["resources"]

    assert given == {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"cpu": "200m", "memory": "256Mi"},
    }


def test_a_session_pod_gets_no_token_of_the_api_server(namespace: Kubectl):
    pod = session_pod()
    del pod["spec"]["automountServiceAccountToken"]  # even if it were forgotten

    volumes = namespace.create(pod, dry_run=True)["spec"]["volumes"]

    sources = [
        source for each in volumes for source in each.get("projected", {}).get("sources", [])
    ]
    assert all("serviceAccountToken" not in source for source in sources)
