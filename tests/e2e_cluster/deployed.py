"""Slipway from ``k8s/overlays/dev`` in a real cluster, with what it needs from outside it.

Kafka, PostgreSQL and the storage run on this machine and listen on loopback; doors let pods reach
them, and stand for the cluster network that would make the services' addresses work.
"""

import contextlib
import ipaddress
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from slipway_client import Slipway
from slipway_common.contracts.views import PackageState
from slipway_local.stack import Stack
from support.demo import ACCOUNT, ADMIN, Demo, Person, build_runtime
from support.doors import Doors, Place, always, ready_endpoints
from support.kubectl import Kubectl, Manifest, RefusedError
from support.running import RunningStack
from support.running_cluster import RunningCluster
from support.scripts import load
from support.workloads import of_kind, workloads

NAMESPACE, SESSIONS = "slipway", "slipway-sessions"
GATEWAY, ACCOUNTS = 8080, 8081
ROLLOUT_SECONDS = 240


@dataclass
class Deployed(Demo):
    """As a test sees it: reached at the address of the gateway's service."""

    address: str
    kubectl: Kubectl

    @property
    @override
    def url(self) -> str:
        return self.address

    def pods(self, namespace: str = SESSIONS, *, selector: str = "") -> list[Manifest]:
        return self.kubectl.list("pods", namespace=namespace, selector=selector)

    def in_service(self, service: str, *command: str, stdin: str = "") -> str:
        """Run a command in a container of the service, as its user."""
        name = "statefulset" if service == "scheduler" else "deployment"
        return self.kubectl.run(
            "exec",
            "--stdin",
            f"{name}/slipway-{service}",
            f"--container={service}",
            "--",
            *command,
            namespace=NAMESPACE,
            stdin=stdin,
        )

    def rolled_out(self, service: str) -> None:
        """Wait until all replicas of the service are new and ready."""
        kind = "statefulset" if service == "scheduler" else "deployment"
        limit = f"--timeout={ROLLOUT_SECONDS}s"
        try:
            self.kubectl.run(
                "rollout",
                "status",
                limit,
                f"{kind}/slipway-{service}",
                namespace=NAMESPACE,
                seconds=ROLLOUT_SECONDS + 30,
            )
        except RefusedError as error:
            raise AssertionError(f"{error}\n{self.story_of(service)}") from error

    def is_rolled_out(self, service: str) -> bool:
        """Whether it is at this moment, without waiting for it."""
        kind = "statefulset" if service == "scheduler" else "deployment"
        found = self.kubectl.get(kind, f"slipway-{service}", namespace=NAMESPACE)
        status, wanted = found["status"], found["spec"]["replicas"]
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas") == wanted
            and status.get("readyReplicas") == wanted
            and status.get("replicas") == wanted
        )

    def is_ready(self, service: str) -> bool:
        """Whether one of its pods is, so that its address leads somewhere."""
        selector = f"app.kubernetes.io/name={service}"
        return any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for pod in self.pods(NAMESPACE, selector=selector)
            for condition in pod["status"].get("conditions", [])
        )

    def story_of(self, service: str) -> str:
        """What the cluster knows of a service that does not come up."""
        selector = f"--selector=app.kubernetes.io/name={service}"
        described = self.kubectl.run("describe", "pods", selector, namespace=NAMESPACE)
        logs = self.kubectl.run("logs", selector, "--tail=30", namespace=NAMESPACE)
        return f"{described}\n{logs}"


@contextlib.contextmanager
def deploy(cluster: RunningCluster, *, repository: Path, folder: Path) -> Iterator[Deployed]:
    host = cluster.cluster.host_address
    stack = Stack(folder / "state", services=(), fsync=False, advertised_host=host)
    running = RunningStack(stack)
    with contextlib.ExitStack() as closing:
        closing.callback(running.stop)
        running.start()
        overlay = write_overlay(cluster, stack, repository=repository, folder=folder / "overlay")
        doors = open_doors(cluster, stack, gateway=overlay.gateway, accounts=overlay.accounts)
        closing.callback(lambda: cluster.call(doors.close()))
        kubectl = cluster.kubectl
        manifests = kubectl.build(overlay.folder)
        secrets = make_secrets(stack, host, repository=repository, folder=folder / "secrets")
        closing.callback(clear, kubectl, manifests)
        kubectl.apply(of_kind(manifests, "Namespace").values())
        kubectl.apply([*secrets, *manifests])
        made = Deployed(
            running=running,
            admin=Person(Slipway("http://127.0.0.1:1"), ""),
            repository=repository,
            folder=folder,
            address=f"http://{overlay.gateway}:{GATEWAY}",
            kubectl=kubectl,
        )
        for service in workloads(manifests):
            made.rolled_out(service)
        publish(made)
        yield made
        made.client.close()


@dataclass(frozen=True)
class Overlay:
    folder: Path
    gateway: str
    accounts: str


def write_overlay(
    cluster: RunningCluster, stack: Stack, *, repository: Path, folder: Path
) -> Overlay:
    generate = load(repository / "k8s/overlays/dev/generate.py")
    host = cluster.cluster.host_address
    # Clusters share the range of services, and each has a number of its own in its addresses.
    number = ipaddress.ip_address(host).packed[2]
    gateway, accounts = f"10.212.{number}.10", f"10.212.{number}.11"
    keys = folder.parent / "account-keys"
    keys.mkdir()
    open_to_others(keys)
    around = generate.Surroundings(
        kafka=generate.Endpoint(host, port_of(stack, "kafka")),
        postgres=generate.Endpoint(host, port_of(stack, "postgres")),
        storage=generate.Endpoint(host, port_of(stack, "azurite")),
        api_server=generate.Endpoint.parse(urlsplit(cluster.cluster.api.server).netloc),
        gateway_address=gateway,
        accounts_address=accounts,
        keys_folder=keys,
        public_url=f"http://{gateway}:{GATEWAY}",
        sessions_host=f"sessions.localhost:{GATEWAY}",
    )
    generate.write_overlay(folder, around)
    return Overlay(folder, gateway, accounts)


def open_to_others(folder: Path) -> None:
    """Let another user come as far as this folder: those above it are private to ours."""
    for place in [folder, *folder.parents]:
        if not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o001)


def open_doors(cluster: RunningCluster, stack: Stack, *, gateway: str, accounts: str) -> Doors:
    host = cluster.cluster.host_address
    number = ipaddress.ip_address(host).packed[2]
    doors = Doors(f"slipway{number}")
    for name in ("kafka", "postgres", "azurite"):
        port = port_of(stack, name)
        cluster.call(doors.open(Place(host, port), always("127.0.0.1", port)))
    for name, address, port in (("gateway", gateway, GATEWAY), ("accounts", accounts, ACCOUNTS)):
        find = ready_endpoints(cluster.cluster.api, namespace=NAMESPACE, service=f"slipway-{name}")
        cluster.call(doors.open(Place(address, port), find, add_address=True))
    return doors


def make_secrets(stack: Stack, host: str, *, repository: Path, folder: Path) -> list[Manifest]:
    """The stack's own, with the storage at the address where pods find it."""
    shutil.copytree(stack.secrets.folder, folder)
    connection = folder / stack.secrets.blob_connection.name
    connection.write_text(connection.read_text().replace("127.0.0.1", host))
    module = load(repository / "k8s/make_secrets.py")
    manifests: list[Manifest] = module.manifests(folder)
    return manifests


def publish(made: Deployed) -> None:
    prepare = [sys.executable, str(made.repository / "examples/depots/prepare.py")]
    subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
    made.admin = made.log_on(ACCOUNT, ADMIN, made.password)
    archive = build_runtime(made.running.stack, made.repository)
    package = made.client.packages.publish_runtime(archive)
    assert made.judged(package.id).state is PackageState.READY
    app = made.publish_app(made.repository / "examples/depots")
    assert app.state is PackageState.READY


def clear(kubectl: Kubectl, manifests: list[Manifest]) -> None:
    """Remove all of it, sessions that a failed test has left included."""
    for service in ("scheduler", "gateway", "accounts", "packager"):
        kind = "statefulset" if service == "scheduler" else "deployment"
        kubectl.run("delete", kind, f"slipway-{service}", "--ignore-not-found", namespace=NAMESPACE)
    for pod in kubectl.list("pods", namespace=SESSIONS):
        name = pod["metadata"]["name"]
        # Nobody is left to tell of its end, and to let it go.
        kubectl.run(
            "patch", "pod", name, "--type=merge", '--patch={"metadata":{"finalizers":null}}',
            namespace=SESSIONS,
        )  # fmt: skip
        kubectl.run(
            "delete", "pod", name, "--ignore-not-found", "--grace-period=0", "--force",
            namespace=SESSIONS,
        )  # fmt: skip
    kubectl.delete(manifests)


def port_of(stack: Stack, name: str) -> int:
    part: Any = stack.part(name)
    address = part.address if name == "kafka" else urlsplit(part.shown_address).netloc
    return int(address.rpartition(":")[2])
