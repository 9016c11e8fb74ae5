"""What the manifests say, overlay by overlay, without asking any API server."""

import importlib
import json
import os
import re
from pathlib import Path
from types import ModuleType

import pytest

from slipway_accounts.offers import Figures
from slipway_scheduler.kubernetes.egress import read_destinations
from slipway_scheduler.nodes.specs import read_pools
from slipway_scheduler.warm.policies import read_policies
from support.kubectl import Manifest
from support.network_policies import selects
from support.workloads import NAME, SERVICES, of_kind, workloads

OUTSIDE_NAMESPACES = {
    "ClusterRole", "ClusterRoleBinding", "Namespace", "PersistentVolume", "PriorityClass",
    "StorageClass",
}  # fmt: skip
SET_BY_OVERLAYS = {
    "accounts": {"SLIPWAY_ACCOUNTS_POSTGRES__DSN"},
    "gateway": {"SLIPWAY_GATEWAY_PUBLIC_URL", "SLIPWAY_GATEWAY_SESSIONS_HOST"},
    "packager": set(),
    "scheduler": {"SLIPWAY_SCHEDULER_KUBERNETES__RUNNER_IMAGE"},
}
WRITABLE = {"emptyDir", "persistentVolumeClaim"}
DRAIN_SECONDS = {"gateway": 20, "accounts": 25, "packager": 20, "scheduler": 20}
"""How long each may take from SIGTERM to its end, by what it drains and closes."""


def test_each_of_the_four_services_is_there_and_nothing_else_runs(overlay: list[Manifest]):
    assert set(workloads(overlay)) == set(SERVICES)
    others = of_kind(overlay, "Pod", "Job", "CronJob", "DaemonSet", "ReplicaSet")
    assert others == {}


def test_no_container_runs_as_root_or_can_write_its_root_or_has_rights(overlay: list[Manifest]):
    for workload in workloads(overlay).values():
        pod = workload.pod["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] == pod["runAsGroup"] == 10001
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in workload.containers:
            own = container["securityContext"]
            assert own == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        for forbidden in ("hostNetwork", "hostPID", "hostIPC"):
            assert forbidden not in workload.pod


def test_every_container_has_requests_and_a_limit_of_memory(overlay: list[Manifest]):
    for workload in workloads(overlay).values():
        for container in workload.containers:
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}
            assert set(resources["limits"]) == {"memory", "ephemeral-storage"}


def test_only_the_scheduler_has_a_token_of_the_api_server(overlay: list[Manifest]):
    with_token = {
        name for name, one in workloads(overlay).items() if one.pod["automountServiceAccountToken"]
    }
    accounts = of_kind(overlay, "ServiceAccount")

    assert with_token == {"scheduler"}
    assert all(one["automountServiceAccountToken"] is False for one in accounts.values())
    assert {one.pod["serviceAccountName"] for one in workloads(overlay).values()} < set(accounts)


def test_only_the_scheduler_is_given_rights(overlay: list[Manifest]):
    bindings = of_kind(overlay, "RoleBinding", "ClusterRoleBinding")
    subjects = [
        (one["kind"], one["namespace"], one["name"])
        for binding in bindings.values()
        for one in binding["subjects"]
    ]

    assert set(subjects) == {("ServiceAccount", "slipway", "slipway-scheduler")}


def test_no_right_is_a_wildcard(overlay: list[Manifest]):
    for role in of_kind(overlay, "Role", "ClusterRole").values():
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_secrets_stand_in_manifests_by_name_alone(overlay: list[Manifest]):
    assert of_kind(overlay, "Secret") == {}
    for workload in workloads(overlay).values():
        for container in workload.containers:
            assert all("secretRef" not in source for source in container.get("envFrom", []))
            for variable in container.get("env", []):
                assert "secretKeyRef" not in variable.get("valueFrom", {})
        for name, value in workload.environment.items():
            assert not re.search(r"://[^/@]*:[^/@]*@|AccountKey=|PRIVATE KEY", value), name


def test_each_service_mounts_its_own_secret_and_of_that_what_the_tool_makes(
    overlay: list[Manifest], make_secrets: ModuleType
):
    for service, workload in workloads(overlay).items():
        (mounted,) = workload.secret_keys.items()
        name, keys = mounted
        optional = set(make_secrets.OPTIONAL.get(service, ()))
        assert name == f"slipway-{service}"
        assert keys - optional == set(make_secrets.SHARES[service])


@pytest.mark.parametrize("service", SERVICES)
def test_the_settings_are_those_that_the_service_reads(
    service: str, overlay: list[Manifest], monkeypatch: pytest.MonkeyPatch
):
    workload = workloads(overlay)[service]
    environment = workload.environment
    if not any("KAFKA__BOOTSTRAP_SERVERS" in name for name in environment):
        # The overlay below the generated one: it is told by that where these are.
        environment[f"SLIPWAY_{service.upper()}_KAFKA__BOOTSTRAP_SERVERS"] = "kafka:9092"
        environment.setdefault("SLIPWAY_ACCOUNTS_POSTGRES__DSN", "postgresql://postgres/slipway")
    for name in [name for name in os.environ if name.startswith("SLIPWAY_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = importlib.import_module(f"slipway_{service}.settings").Settings

    read = settings()

    assert not read.health.host.startswith("127.")
    assert set(environment) >= SET_BY_OVERLAYS[service]
    prefix = f"SLIPWAY_{service.upper()}_"
    fields = set(settings.model_fields)
    for name in environment:
        if name.startswith(prefix):
            assert name.removeprefix(prefix).partition("__")[0].lower() in fields, name


def test_every_file_that_a_setting_names_is_mounted(overlay: list[Manifest]):
    for workload in workloads(overlay).values():
        mounts = {mount["mountPath"] for mount in workload.main["volumeMounts"]}
        for name, value in workload.environment.items():
            if name.endswith("_FILE"):
                assert value in workload.mounted_files, name
            elif name.endswith("_FOLDER"):
                assert value in mounts, name


def test_only_accounts_can_write_the_keys_of_the_accounts(overlay: list[Manifest]):
    writers = set()
    for service, workload in workloads(overlay).items():
        for mount in workload.main["volumeMounts"]:
            if mount["name"] == "account-keys" and not mount.get("readOnly"):
                writers.add(service)

    assert writers == {"accounts"}


def test_whatever_can_be_written_is_a_volume_with_a_size(overlay: list[Manifest]):
    for workload in workloads(overlay).values():
        for volume in workload.pod["volumes"]:
            if "emptyDir" in volume:
                assert "sizeLimit" in volume["emptyDir"]
        writable = [m for m in workload.main["volumeMounts"] if not m.get("readOnly")]
        kinds = {
            kind
            for volume in workload.pod["volumes"]
            for kind in volume
            if volume["name"] in {mount["name"] for mount in writable} and kind != "name"
        }
        assert kinds <= WRITABLE


def test_a_restart_drops_nothing(overlay: list[Manifest]):
    for service, workload in workloads(overlay).items():
        pause = workload.main.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        served = service in {"gateway", "accounts"}
        assert bool(pause) is served
        grace = workload.pod["terminationGracePeriodSeconds"]
        assert grace >= pause.get("seconds", 0) + DRAIN_SECONDS[service]
        if workload.manifest["kind"] == "Deployment":
            rolling = workload.manifest["spec"]["strategy"]["rollingUpdate"]
            assert rolling["maxUnavailable"] == 0


def test_every_service_is_probed_on_its_health_port(overlay: list[Manifest]):
    for service, workload in workloads(overlay).items():
        ports = {port["name"]: port["containerPort"] for port in workload.main["ports"]}
        configured = workload.environment[f"SLIPWAY_{service.upper()}_HEALTH__PORT"]
        paths = {
            kind: workload.main[kind]["httpGet"]["path"]
            for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert ports["health"] == int(configured)
        assert all(
            workload.main[kind]["httpGet"]["port"] == "health"
            and workload.main[kind]["timeoutSeconds"] > 2  # how long a check may hang
            for kind in paths
        )
        assert paths["startupProbe"] == "/readyz"
        assert paths["livenessProbe"] == "/livez"


def test_an_outage_of_kafka_takes_nobody_out_of_a_service(overlay: list[Manifest]):
    for service, workload in workloads(overlay).items():
        path = workload.main["readinessProbe"]["httpGet"]["path"]
        assert path == ("/livez" if service in {"gateway", "accounts"} else "/readyz")


def test_each_scheduler_is_known_by_the_name_that_its_pod_keeps(overlay: list[Manifest]):
    scheduler = workloads(overlay)["scheduler"]
    (instance,) = (
        one for one in scheduler.main["env"] if one["name"] == "SLIPWAY_SCHEDULER_INSTANCE"
    )

    assert scheduler.manifest["kind"] == "StatefulSet"
    assert instance["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_what_selects_pods_finds_them(overlay: list[Manifest]):
    found = workloads(overlay)
    for name, budget in of_kind(overlay, "PodDisruptionBudget").items():
        assert selects(budget["spec"]["selector"], found[name.removeprefix("slipway-")].labels)
    for name, service in of_kind(overlay, "Service").items():
        workload = found[name.removeprefix("slipway-")]
        assert service["spec"]["selector"].items() <= workload.labels.items()
        ports = {port["name"] for port in workload.main["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    for workload in found.values():
        assert selects(workload.manifest["spec"]["selector"], workload.labels)
        for constraint in workload.pod["topologySpreadConstraints"]:
            assert selects(constraint["labelSelector"], workload.labels)
    assert set(of_kind(overlay, "PodDisruptionBudget")) == {f"slipway-{name}" for name in SERVICES}


def test_addresses_of_services_lead_to_the_ports_that_they_listen_at(overlay: list[Manifest]):
    found, services = workloads(overlay), of_kind(overlay, "Service")
    for name, user, variable in (
        ("accounts", "gateway", "SLIPWAY_GATEWAY_ACCOUNTS_URL"),
        ("gateway", "scheduler", "SLIPWAY_SCHEDULER_GATEWAY_URL"),
    ):
        host, _, port = found[user].environment[variable].removeprefix("http://").partition(":")
        service = services[f"slipway-{name}"]["spec"]
        assert host in {f"slipway-{name}.slipway.svc", service.get("clusterIP")}
        assert int(port) == service["ports"][0]["port"]
        listens = found[name].environment[f"SLIPWAY_{name.upper()}_HTTP__PORT"]
        (http,) = (one for one in found[name].main["ports"] if one["name"] == "http")
        assert int(listens) == http["containerPort"]


def test_images_are_pinned_to_a_tag(overlay: list[Manifest]):
    for workload in workloads(overlay).values():
        for container in workload.containers:
            assert re.fullmatch(r"slipway-\w+:(dev|\d+\.\d+\.\d+)", container["image"])


def test_production_scales_from_three_and_keeps_to_nodes_of_its_own(
    overlays: dict[str, list[Manifest]],
):
    production = overlays["production"]
    for scaler in of_kind(production, "HorizontalPodAutoscaler").values():
        assert scaler["spec"]["minReplicas"] == 3
        target = workloads(production)[scaler["spec"]["scaleTargetRef"]["name"][8:]]
        assert "replicas" not in target.manifest["spec"]  # else each apply would undo the scaler
    assert workloads(production)["scheduler"].manifest["spec"]["replicas"] == 3
    for workload in workloads(production).values():
        assert workload.pod["nodeSelector"] == {"slipway.dev/pool": "services"}
        (toleration,) = workload.pod["tolerations"]
        assert (toleration["key"], toleration["value"]) == ("slipway.dev/pool", "services")


def test_the_local_cluster_pulls_no_image(overlays: dict[str, list[Manifest]]):
    for workload in workloads(overlays["dev"]).values():
        assert {one["imagePullPolicy"] for one in workload.containers} == {"Never"}
        variable = "SLIPWAY_SCHEDULER_KUBERNETES__IMAGE_PULL_POLICY"
        assert workload.environment.get(variable, "Never") == "Never"


def test_every_object_names_its_namespace_and_its_system(overlay: list[Manifest]):
    for manifest in overlay:
        metadata = manifest["metadata"]
        if manifest["kind"] in OUTSIDE_NAMESPACES:
            assert "namespace" not in metadata
        else:
            assert metadata["namespace"] in {"slipway", "slipway-sessions"}
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "slipway"
    assert all(NAME in one.labels for one in workloads(overlay).values())


def test_the_files_of_the_operator_can_be_read_and_fit_together(
    overlay: list[Manifest], tmp_path: Path
):
    for workload in workloads(overlay).values():
        for path, source in workload.mounted_files.items():
            kind, _, name = source.partition("/")
            if kind == "ConfigMap":
                (tmp_path / Path(path).name).write_text(
                    workload.maps[name]["data"][Path(path).name]
                )
    figures = json.loads((tmp_path / "resource-profiles.json").read_text())
    profiles = {"standard"} | {
        name for name, each in figures.items() if Figures.model_validate(each)
    }
    pools = tmp_path / "node-pools.json"
    names = {pool.name for pool in read_pools(pools if pools.exists() else None)}
    prefix = "SLIPWAY_SCHEDULER_KUBERNETES__NODE_POOL_OF"
    placed = json.loads(workloads(overlay)["scheduler"].environment.get(prefix, "{}"))

    assert json.loads((tmp_path / "external-services.json").read_text()) == {}
    assert read_policies(tmp_path / "warm-pools.json") == ()
    assert read_destinations(tmp_path / "egress.json") == {}
    assert set(placed) <= profiles
    assert set(placed.values()) <= names
