"""Slipway from ``k8s/overlays/dev`` in a real cluster, with what it needs from outside it.

Put there by what operators are told for a cluster of their own machine: ``up --for-pods``, and the
two scripts beside the manifests.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from slipway_client import Slipway
from slipway_common.contracts.views import PackageState
from slipway_local.environment import PodPlace
from slipway_local.for_pods import StackForPods
from support.demo import ACCOUNT, ADMIN, Demo, Person, build_runtime
from support.kubectl import Kubectl, Manifest, RefusedError
from support.running import RunningStack
from support.running_cluster import RunningCluster
from support.scripts import load
from support.workloads import of_kind, workloads

NAMESPACE, SESSIONS = "slipway", "slipway-sessions"
ROLLOUT_SECONDS = 240


@dataclass
class Deployed(Demo):
    """As a test sees it: reached at the door of this machine to the gateway's service."""

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
    place = PodPlace(
        kubeconfig=cluster.cluster.kubeconfig,
        host_address=cluster.cluster.host_address,
        runner_image="",
    )
    stack = StackForPods(place, folder / "state", fsync=False)
    running = RunningStack(stack)
    with contextlib.ExitStack() as closing:
        closing.callback(running.stop)
        running.start()
        write_overlay(stack, repository=repository, folder=folder / "overlay")
        kubectl = cluster.kubectl
        manifests = kubectl.build(folder / "overlay")
        secrets = load(repository / "k8s/make_secrets.py").manifests(stack.folder / "secrets")
        closing.callback(clear, kubectl, manifests)
        kubectl.apply(of_kind(manifests, "Namespace").values())
        kubectl.apply([*secrets, *manifests])
        made = Deployed(
            running=running,
            admin=Person(Slipway("http://127.0.0.1:1"), ""),
            repository=repository,
            folder=folder,
            address=stack.gateway_url,
            kubectl=kubectl,
        )
        for service in workloads(manifests):
            made.rolled_out(service)
        publish(made)
        yield made
        made.client.close()


def write_overlay(stack: StackForPods, *, repository: Path, folder: Path) -> None:
    script = repository / "k8s/overlays/dev/generate.py"
    command = [sys.executable, str(script), str(folder), f"@{stack.folder / 'options'}"]
    subprocess.run(command, check=True)


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
