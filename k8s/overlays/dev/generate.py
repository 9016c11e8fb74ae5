"""Writes an overlay on top of this one that says where Kafka, PostgreSQL and the storage are.

    python3 k8s/overlays/dev/generate.py FOLDER --kafka HOST:PORT --postgres HOST:PORT \
        --storage HOST:PORT
    kubectl apply --kustomize FOLDER

Addresses must be numbers, as seen from a pod. It needs Python alone, and holds no secret.
"""

import argparse
import ipaddress
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

OVERLAY = Path(__file__).resolve().parent
METADATA = ["169.254.0.0/16", "168.63.129.16/32"]
SERVICES = ("accounts", "gateway", "packager", "scheduler")
USERS = {
    "kafka": SERVICES,
    "postgres": ("accounts",),
    "storage": ("accounts", "gateway", "packager"),
}
"""What is outside → the services that reach it."""

PUBLIC_URL = "http://localhost:8080"
SESSIONS_HOST = "sessions.localhost:8080"
GATEWAY_PORT = 8080
ACCOUNTS_PORT = 8081

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        host, _, port = text.rpartition(":")
        ipaddress.ip_address(host)
        return cls(host, int(port))

    @property
    def text(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def inside_pods(self) -> bool:
        """Whether it leads from a pod to that pod."""
        address = ipaddress.ip_address(self.host)
        return address.is_loopback or address.is_unspecified


@dataclass(frozen=True, slots=True)
class Surroundings:
    kafka: Endpoint
    postgres: Endpoint
    storage: Endpoint
    api_server: Endpoint | None = None
    """Where pods reach it; None: by the service of that name, as in any usual cluster."""

    gateway_address: str | None = None
    accounts_address: str | None = None
    """Addresses for the two services, for clusters without a name server; None: names are used."""

    keys_folder: Path | None = None
    """Of the one node, for the keys of the accounts; None: the cluster makes volumes itself."""

    public_url: str = PUBLIC_URL
    sessions_host: str = SESSIONS_HOST

    @property
    def gateway_url(self) -> str:
        return f"http://{self.gateway_address or 'slipway-gateway.slipway.svc'}:{GATEWAY_PORT}"

    @property
    def accounts_url(self) -> str:
        return f"http://{self.accounts_address or 'slipway-accounts.slipway.svc'}:{ACCOUNTS_PORT}"


def write_overlay(folder: Path, around: Surroundings) -> None:
    """The folder may lie anywhere; what it held of an earlier call is replaced."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    resources = [*outside(around)]
    if around.keys_folder is not None:
        resources.append(volume(around.keys_folder.resolve()))
    (folder / "resources.yaml").write_text("\n---\n".join(map(json.dumps, resources)))
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(OVERLAY, folder), "resources.yaml"],
        "configMapGenerator": [
            {
                "name": f"slipway-{name}-settings",
                "namespace": "slipway",
                "behavior": "merge",
                "literals": [f"{variable}={value}" for variable, value in values.items()],
            }
            for name, values in settings(around).items()
        ],
        "patches": [{"patch": json.dumps(patch)} for patch in patches(around)],
        "labels": [{"pairs": {"app.kubernetes.io/part-of": "slipway"}}],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(overlay, indent=2))


def settings(around: Surroundings) -> dict[str, dict[str, str]]:
    """ConfigMap → what it says beyond the overlay below."""
    passfile = "/run/own/postgres-passfile"
    return {
        "common": {"KAFKA__BOOTSTRAP_SERVERS": around.kafka.text},
        "accounts": {
            "POSTGRES__DSN": f"postgresql://slipway@{around.postgres.text}/slipway?passfile={passfile}"
        },
        "gateway": {
            "ACCOUNTS_URL": around.accounts_url,
            "PUBLIC_URL": around.public_url,
            "SESSIONS_HOST": around.sessions_host,
        },
        "scheduler": {"GATEWAY_URL": around.gateway_url},
    }


def outside(around: Surroundings) -> Iterable[Document]:
    """Who may reach what lies outside the cluster."""
    for name, services in USERS.items():
        endpoint: Endpoint = getattr(around, name)
        yield _policy(name, services, _block(endpoint), [endpoint.port])
    if around.api_server is None:
        anywhere = {"cidr": "0.0.0.0/0", "except": METADATA}
        yield _policy("api-server", ("scheduler",), anywhere, [443, 6443])
    else:
        api = around.api_server
        yield _policy("api-server", ("scheduler",), _block(api), [api.port])


def patches(around: Surroundings) -> Iterable[Document]:
    fixed = {"gateway": around.gateway_address, "accounts": around.accounts_address}
    for name, address in fixed.items():
        if address is not None:
            yield _part("v1", "Service", name, {"clusterIP": address})
    if around.api_server is not None:
        api = around.api_server
        variables = {"KUBERNETES_SERVICE_HOST": api.host, "KUBERNETES_SERVICE_PORT": str(api.port)}
        environment = [{"name": name, "value": value} for name, value in variables.items()]
        containers = [{"name": "scheduler", "env": environment}]
        template = {"spec": {"containers": containers}}
        yield _part("apps/v1", "StatefulSet", "scheduler", {"template": template})
    if around.keys_folder is not None:
        claim = {"storageClassName": "", "volumeName": "slipway-account-keys"}
        yield _part("v1", "PersistentVolumeClaim", "account-keys", claim)


def volume(folder: Path) -> Document:
    """A folder of the node that the services' user can be made to own, unlike a hostPath."""
    here = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "slipway-account-keys"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }


def _part(version: str, kind: str, name: str, spec: Document) -> Document:
    metadata = {"name": f"slipway-{name}", "namespace": "slipway"}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _policy(name: str, services: Iterable[str], block: Document, ports: Iterable[int]) -> Document:
    names = {"key": "app.kubernetes.io/name", "operator": "In", "values": list(services)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "slipway"},
        "spec": {
            "podSelector": {"matchExpressions": [names]},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"ipBlock": block}],
                    "ports": [{"protocol": "TCP", "port": port} for port in ports],
                }
            ],
        },
    }


def _block(endpoint: Endpoint) -> Document:
    return {"cidr": str(ipaddress.ip_network(endpoint.host))}


HELP = {
    "kafka": "as pods reach it; it must send its clients to this address, too",
    "postgres": "as pods reach it",
    "storage": "as pods reach it; the same must stand in blob-connection among the secrets",
    "api_server": "as pods reach it, where the addresses of services do not work, "
    "as in `make cluster` (default: the service kubernetes)",
    "gateway_address": "for the service of the gateway, where there is no name server "
    "(default: its name)",
    "accounts_address": "for the service of accounts, likewise",
    "keys_folder": "of the one node, for the keys of the accounts, where nothing makes volumes; "
    "the keys of accounts that exist already must lie in it (default: the cluster makes a volume)",
    "public_url": "of the portal, as browsers reach it (default: %(default)s)",
    "sessions_host": "below which each session has its own host (default: %(default)s)",
    "loopback": "take addresses of loopback, as for pods in the node's own network",
}


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog="@FILE reads more of these from a file, one a line. The local stack writes such a "
        "file for its own cluster: python -m slipway_local up --for-pods",
        fromfile_prefix_chars="@",
    )
    parser.add_argument("folder", type=Path, help="where the overlay is written")

    def add(name: str, **more: Any) -> None:
        parser.add_argument(f"--{name.replace('_', '-')}", help=HELP[name], **more)

    for name in USERS:
        add(name, type=Endpoint.parse, required=True, metavar="HOST:PORT")
    add("api_server", type=Endpoint.parse, metavar="HOST:PORT")
    add("gateway_address", metavar="NUMBER")
    add("accounts_address", metavar="NUMBER")
    add("keys_folder", type=Path, metavar="FOLDER")
    add("public_url", default=PUBLIC_URL, metavar="URL")
    add("sessions_host", default=SESSIONS_HOST, metavar="HOST:PORT")
    add("loopback", action="store_true")
    return parser


def unreachable(around: Surroundings) -> list[str]:
    """Options that name an address at which a pod finds itself."""
    endpoints = {name: getattr(around, name) for name in (*USERS, "api_server")}
    return [
        f"--{name.replace('_', '-')} {endpoint.text}"
        for name, endpoint in endpoints.items()
        if endpoint is not None and endpoint.inside_pods
    ]


def main() -> None:
    parser = arguments()
    options = vars(parser.parse_args())
    folder, loopback = options.pop("folder"), options.pop("loopback")
    around = Surroundings(**options)
    if (wrong := unreachable(around)) and not loopback:
        parser.error(
            f"{', '.join(wrong)}: there a pod finds itself, and not this machine. Give addresses "
            "that pods reach (of the local stack: python -m slipway_local up --for-pods, then "
            "@.slipway/for-pods/options), or --loopback if you mean it"
        )
    write_overlay(folder, around)


if __name__ == "__main__":
    main()
