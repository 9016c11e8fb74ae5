"""How etcd, the API server, the controllers and the scheduler are told what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_local.cluster.control.certificates import Certificates
from slipway_local.cluster.machine.network import SERVICES
from slipway_local.ports import LOOPBACK

NODE_GRACE_SECONDS = 20
"""A node that is not heard of for so long counts as lost. The real default is 50."""

NODE_LOOK_SECONDS = 2
SCHEDULER_QPS = 500
CONTROLLER_QPS = 300
AUDIT_MEGABYTES = 256
ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICE_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
FIRST_SERVICE = "10.212.0.1"
"""The service of the API server itself is the first of ``SERVICES``."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The command lines, over the places where everything lies and listens."""

    binaries: Path
    configuration: Path
    """The folder with kubeconfigs and configuration files."""

    data: Path
    audit_log: Path
    certificates: Certificates
    address: str
    """Where the API server listens. Everything else of the control plane is on loopback."""

    etcd_port: int
    etcd_peer_port: int
    api_port: int
    controllers_port: int
    scheduler_port: int

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.api_port}"

    @property
    def audit_policy(self) -> Path:
        return self.configuration / "audit-policy.json"

    @property
    def scheduler_file(self) -> Path:
        return self.configuration / "scheduler.json"

    def etcd(self) -> Sequence[str]:
        pair = self.certificates.pair("etcd")
        client = f"https://{LOOPBACK}:{self.etcd_port}"
        peer = f"http://{LOOPBACK}:{self.etcd_peer_port}"
        return [
            str(self.binaries / "etcd"),
            "--name=slipway",
            f"--data-dir={self.data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            # Nobody is there to be a peer; without a port of its own it takes the usual one.
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=slipway={peer}",
            "--client-cert-auth",
            f"--trusted-ca-file={self.certificates.authority}",
            f"--cert-file={pair.certificate}",
            f"--key-file={pair.key}",
            "--unsafe-no-fsync",
            "--auto-compaction-retention=5m",
            "--log-level=warn",
        ]

    def api_server(self) -> Sequence[str]:
        own = self.certificates.pair("kube-apiserver")
        accounts = self.certificates.accounts
        return [
            str(self.binaries / "kube-apiserver"),
            f"--bind-address={self.address}",
            f"--secure-port={self.api_port}",
            f"--etcd-servers=https://{LOOPBACK}:{self.etcd_port}",
            f"--etcd-cafile={self.certificates.authority}",
            f"--etcd-certfile={own.certificate}",
            f"--etcd-keyfile={own.key}",
            f"--client-ca-file={self.certificates.authority}",
            f"--tls-cert-file={own.certificate}",
            f"--tls-private-key-file={own.key}",
            f"--kubelet-certificate-authority={self.certificates.authority}",
            f"--kubelet-client-certificate={self.certificates.pair('kubelet-client').certificate}",
            f"--kubelet-client-key={self.certificates.pair('kubelet-client').key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--service-account-issuer={ISSUER}",
            f"--service-cluster-ip-range={SERVICES}",
            "--endpoint-reconciler-type=none",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--anonymous-auth=false",
            "--allow-privileged=false",
            f"--audit-policy-file={self.audit_policy}",
            f"--audit-log-path={self.audit_log}",
            f"--audit-log-maxsize={AUDIT_MEGABYTES}",
            "--audit-log-maxbackup=1",
            "--profiling=false",
        ]

    def controllers(self) -> Sequence[str]:
        name = "kube-controller-manager"
        return [
            str(self.binaries / name),
            *self._client(name, self.controllers_port),
            f"--service-account-private-key-file={self.certificates.accounts.key}",
            f"--root-ca-file={self.certificates.authority}",
            "--use-service-account-credentials=true",
            # It would make a folder of the system's for plugins that nobody has.
            f"--flex-volume-plugin-dir={self.configuration / 'volume-plugins'}",
            f"--node-monitor-period={NODE_LOOK_SECONDS}s",
            f"--node-monitor-grace-period={NODE_GRACE_SECONDS}s",
            f"--kube-api-qps={CONTROLLER_QPS}",
            f"--kube-api-burst={2 * CONTROLLER_QPS}",
        ]

    def scheduler(self) -> Sequence[str]:
        name = "kube-scheduler"
        return [
            str(self.binaries / name),
            *self._client(name, self.scheduler_port),
            f"--config={self.scheduler_file}",
        ]

    def _client(self, name: str, port: int) -> Sequence[str]:
        kubeconfig = self.configuration / f"{name}.kubeconfig"
        pair = self.certificates.pair(name)
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port}",
            f"--tls-cert-file={pair.certificate}",
            f"--tls-private-key-file={pair.key}",
            "--leader-elect=false",
            "--profiling=false",
        ]


def scheduler_configuration(kubeconfig: Path) -> dict[str, Any]:
    """Fill nodes one after the other: what is empty can then be given back."""
    packing = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "NodeResourcesFitArgs",
        "scoringStrategy": {
            "type": "MostAllocated",
            "resources": [{"name": "cpu", "weight": 1}, {"name": "memory", "weight": 1}],
        },
    }
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": {
            "kubeconfig": str(kubeconfig),
            "qps": SCHEDULER_QPS,
            "burst": 2 * SCHEDULER_QPS,
        },
        "leaderElection": {"leaderElect": False},
        "profiles": [
            {
                "schedulerName": "default-scheduler",
                "plugins": {
                    "score": {
                        # It would spread what shall be packed.
                        "disabled": [{"name": "NodeResourcesBalancedAllocation"}]
                    }
                },
                "pluginConfig": [{"name": "NodeResourcesFit", "args": packing}],
            }
        ],
    }
