"""How containerd and the kubelet of the real node are told what to do.

Inside the box they use the places that they would use on a machine of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway_local.cluster.control.certificates import Certificates
from slipway_local.cluster.machine.network import Network
from slipway_local.errors import LocalError
from slipway_local.tools import CNI_FOLDERS

NODE_NAME = "slipway-local"
POOL_LABEL = "slipway.dev/pool"
DEFAULT_POOL = "default"
PAUSE_IMAGE = "slipway-pause:1"
SOCKET = "/run/containerd/containerd.sock"
LEASE_SECONDS = 20
"""The kubelet renews its lease four times as often."""

UNUSED_SNAPSHOTTERS = ("aufs", "btrfs", "devmapper", "zfs")


@dataclass(frozen=True, slots=True)
class Node:
    """The command lines and files of one node."""

    network: Network
    binaries: Path
    configuration: Path
    pod_logs: Path
    certificates: Certificates
    kubelet_port: int
    labels: Mapping[str, str]

    @property
    def containerd_file(self) -> Path:
        return self.configuration / "containerd.toml"

    @property
    def kubelet_file(self) -> Path:
        return self.configuration / "kubelet.json"

    @property
    def cni_folder(self) -> Path:
        return self.configuration / "cni"

    @property
    def cni_file(self) -> Path:
        return self.cni_folder / "10-slipway.conflist"

    def containerd(self, program: Path) -> Sequence[str]:
        return [str(program), f"--config={self.containerd_file}"]

    def kubelet(self) -> Sequence[str]:
        labels = ",".join(f"{name}={value}" for name, value in self.labels.items())
        return [
            str(self.binaries / "kubelet"),
            f"--config={self.kubelet_file}",
            f"--kubeconfig={self.configuration / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={self.network.host_address}",
            f"--node-labels={labels}",
        ]

    def containerd_configuration(self) -> str:
        disabled = ", ".join(f'"io.containerd.snapshotter.v1.{n}"' for n in UNUSED_SNAPSHOTTERS)
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        return "\n".join(
            [
                "version = 2",
                f"disabled_plugins = [{disabled}]",
                "[grpc]",
                f'address = "{SOCKET}"',
                f"[{cri}]",
                f'sandbox_image = "{PAUSE_IMAGE}"',
                "disable_apparmor = true",
                "restrict_oom_score_adj = true",
                f"[{cri}.cni]",
                f'bin_dir = "{cni_plugins()}"',
                f'conf_dir = "{self.cni_folder}"',
                f"[{cri}.containerd]",
                'snapshotter = "overlayfs"',
                'default_runtime_name = "runc"',
                f"[{cri}.containerd.runtimes.runc]",
                'runtime_type = "io.containerd.runc.v2"',
                "",
            ]
        )

    def cni_configuration(self) -> dict[str, Any]:
        """A bridge that leads to this machine and no further: nothing is forwarded."""
        return {
            "cniVersion": "1.0.0",
            "name": "slipway",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": self.network.bridge,
                    "isGateway": False,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [
                            [{"subnet": self.network.pods, "gateway": self.network.host_address}]
                        ],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }

    def kubelet_configuration(self) -> dict[str, Any]:
        serving = self.certificates.pair("kubelet-server")
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.network.host_address,
            "port": self.kubelet_port,
            "readOnlyPort": 0,
            "healthzPort": 0,
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "authentication": {
                "anonymous": {"enabled": False},
                "x509": {"clientCAFile": str(self.certificates.authority)},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(serving.certificate),
            "tlsPrivateKeyFile": str(serving.key),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.network.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            # The machine's own firewall is none of its business.
            "makeIPTablesUtilChains": False,
            "nodeLeaseDurationSeconds": LEASE_SECONDS,
            "podLogsDir": str(self.pod_logs),
            "volumePluginDir": "/var/lib/kubelet/volume-plugins",
            # Nothing can be pulled again, so nothing is thrown away.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "imagefs.available": "1%",
            },
            "registryPullQPS": 0,
            "eventRecordQPS": 0,
            "kubeAPIQPS": 100,
            "kubeAPIBurst": 200,
        }


def cni_plugins() -> Path:
    for folder in CNI_FOLDERS:
        if (Path(folder) / "host-local").exists():
            return Path(folder)
    raise LocalError("the CNI plugins are gone")
