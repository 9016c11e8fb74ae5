"""The state folder of a cluster: like a stack's, with other things in it."""

import json
import shutil
from pathlib import Path

from typing_extensions import override

from slipway_local.files import PRIVATE_FOLDER, write_atomically
from slipway_local.state import State

CONTENTS = ("audit", "configuration", "etcd", "node", "pki", "tokens")


class ClusterState(State):
    """Paths below the state folder, and what is remembered there."""

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def configuration(self) -> Path:
        return self.folder / "configuration"

    @property
    def etcd(self) -> Path:
        return self.folder / "etcd"

    @property
    def node(self) -> Path:
        """Images and volumes of the real node."""
        return self.folder / "node"

    @property
    def audit(self) -> Path:
        return self.folder / "audit"

    @property
    def tokens(self) -> Path:
        """Kubeconfigs of service accounts."""
        return self.folder / "tokens"

    @property
    def pod_logs(self) -> Path:
        return self.logs / "pods"

    @property
    def network_file(self) -> Path:
        return self.folder / "network.json"

    @property
    def network_number(self) -> int | None:
        """The number of the network that was used last; None before the first start."""
        try:
            return int(json.loads(self.network_file.read_text())["number"])
        except FileNotFoundError:
            return None

    def remember_network(self, number: int) -> None:
        write_atomically(self.network_file, json.dumps({"number": number}))

    def make_folders(self) -> None:
        for folder in (self.configuration, self.audit, self.tokens, self.pod_logs):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        self.node.mkdir(parents=True, exist_ok=True)

    def forget_objects(self) -> None:
        """Delete what the API server and the kubelet know; images stay."""
        for folder in (self.etcd, self.audit, self.tokens, self.pod_logs, self.node / "kubelet"):
            shutil.rmtree(folder, ignore_errors=True)

    @override
    def remove(self) -> None:
        for name in CONTENTS:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.network_file.unlink(missing_ok=True)
        super().remove()

    @override
    def _choose_postgres_folder(self) -> Path:
        # There is no database here that must not run as root: nothing has to lie elsewhere.
        return self.folder / "postgres"
