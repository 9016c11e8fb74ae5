"""The files of one cluster: certificates, kubeconfigs, configurations."""

import json

from slipway_local.cluster.control import audit
from slipway_local.cluster.control.certificates import MASTERS
from slipway_local.cluster.control.control_plane import (
    FIRST_SERVICE,
    SERVICE_NAMES,
    scheduler_configuration,
)
from slipway_local.cluster.control.kubeconfig import with_certificate, write_kubeconfig
from slipway_local.cluster.fakes.stages import stages
from slipway_local.cluster.machine.node import NODE_NAME
from slipway_local.cluster.surroundings import Surroundings, control_plane, node
from slipway_local.files import write_atomically
from slipway_local.ports import LOOPBACK

ADMIN = "admin"
KWOK_USER = "slipway:kwok"
USERS = {
    # Name of the files → user and group of the API server.
    ADMIN: ("slipway:admin", MASTERS),
    "kubelet-client": ("slipway:kube-apiserver", MASTERS),
    "kwok": (KWOK_USER, MASTERS),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
}
SERVERS = {
    # Those that others call at an address of loopback, with their users of the API server.
    "kube-controller-manager": "system:kube-controller-manager",
    "kube-scheduler": "system:kube-scheduler",
}


def write_files(around: Surroundings) -> None:
    """Write certificates, kubeconfigs and configurations; all but the authority is made anew."""
    plane, certificates = control_plane(around), around.certificates
    certificates.open()
    certificates.make_server("etcd", [LOOPBACK])
    own = [LOOPBACK, around.network.host_address, FIRST_SERVICE, *SERVICE_NAMES]
    certificates.make_server("kube-apiserver", own)
    certificates.make_server("kubelet-server", [around.network.host_address])
    for name, user in SERVERS.items():
        certificates.make_server(name, [LOOPBACK])
        certificates.make_client(f"{name}-client", user=user)
    for name, (user, group) in USERS.items():
        certificates.make_client(name, user=user, group=group)
    for name in (*USERS, *SERVERS):
        pair = certificates.pair(f"{name}-client" if name in SERVERS else name)
        write_kubeconfig(
            around.kubeconfig(name),
            server=plane.server,
            authority=certificates.authority.read_bytes(),
            user=with_certificate(pair),
            namespace="default",
        )
    write_atomically(plane.audit_policy, json.dumps(audit.policy()))
    scheduler = scheduler_configuration(around.kubeconfig("kube-scheduler"))
    write_atomically(plane.scheduler_file, json.dumps(scheduler))
    kwok = "\n---\n".join(map(json.dumps, stages()))
    write_atomically(around.state.configuration / "kwok.yaml", kwok)
    machine = node(around)
    machine.cni_folder.mkdir(exist_ok=True)
    write_atomically(machine.cni_file, json.dumps(machine.cni_configuration()))
    write_atomically(machine.containerd_file, machine.containerd_configuration())
    write_atomically(machine.kubelet_file, json.dumps(machine.kubelet_configuration()))
