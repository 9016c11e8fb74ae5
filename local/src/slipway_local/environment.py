"""The environment of each service: which variable says what, in this one place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slipway_local.ports import LOOPBACK
from slipway_local.secrets import Secrets

EVERYWHERE = "0.0.0.0"  # noqa: S104 - for pods of this machine, whose bridge is one more interface
DEMO_ACCOUNT = "demo"
DEMO_ENVIRONMENT = "ROOT"
DEMO_ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class PodPlace:
    """A cluster in which sessions run as pods, while the services run here."""

    kubeconfig: Path
    host_address: str
    """Where pods reach what listens on this machine."""

    runner_image: str
    pull_policy: str = "Never"
    """Images of a local cluster are put into it; there is nowhere to pull them from."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that a service has to know about the stack around it."""

    kafka_bootstrap: str
    postgres_dsn: str
    secrets: Secrets
    lifeline: Path
    work_folder: Path
    accounts_port: int | None
    """None if there is no such service in this stack."""

    gateway_port: int | None
    pods: PodPlace | None = None
    """None: sessions are processes."""

    @property
    def accounts_url(self) -> str:
        return f"http://{LOOPBACK}:{self.accounts_port}"

    @property
    def gateway_url(self) -> str:
        """As a browser on this machine sees it."""
        return f"http://localhost:{self.gateway_port}"


def service_environment(
    name: str, around: Surroundings, *, port: int | None, health_port: int
) -> dict[str, str]:
    """Return the variables of one service; one that we do not know gets the common ones."""
    values = {
        "KAFKA__BOOTSTRAP_SERVERS": around.kafka_bootstrap,
        "HEALTH__PORT": str(health_port),
        "LOGS__FORMAT": "json",
    }
    if port is not None:
        values["HTTP__PORT"] = str(port)
    own = _OWN.get(name)
    if own is not None:
        values |= own(around)
    prefix = f"SLIPWAY_{name.upper().replace('-', '_')}_"
    return {f"{prefix}{variable}": value for variable, value in values.items()}


def _accounts(around: Surroundings) -> dict[str, str]:
    secrets = around.secrets
    return {
        "POSTGRES__DSN": around.postgres_dsn,
        "SERVICE_TOKEN_FILE": str(secrets.service_token),
        "SIGNING_KEY_FILE": str(secrets.signing_key),
        "KEYS_FOLDER": str(secrets.keys_folder),
        "BLOBS__CONNECTION_STRING_FILE": str(secrets.blob_connection),
        "FIRST_ADMIN__ACCOUNT": DEMO_ACCOUNT,
        "FIRST_ADMIN__USER": DEMO_ADMIN,
        "FIRST_ADMIN__PASSWORD_FILE": str(secrets.admin_password),
    }


def _gateway(around: Surroundings) -> dict[str, str]:
    secrets = around.secrets
    # Pods call home at another address than browsers.
    listening = {} if around.pods is None else {"HTTP__HOST": EVERYWHERE}
    return listening | {
        "PUBLIC_URL": around.gateway_url,
        "SESSIONS_HOST": f"sessions.localhost:{around.gateway_port}",
        "ACCOUNTS_URL": around.accounts_url,
        "SERVICE_TOKEN_FILE": str(secrets.service_token),
        "KEYS_FOLDER": str(secrets.keys_folder),
        "BLOBS__CONNECTION_STRING_FILE": str(secrets.blob_connection),
        "SESSION_SECRET_FILE": str(secrets.session_secret),
        "RUNNER_VERIFICATION_KEY_FILE": str(secrets.runner_verification_key),
        "SEAL_CERTIFICATE_FILE": str(secrets.seal_certificate),
    }


def _packager(around: Surroundings) -> dict[str, str]:
    secrets = around.secrets
    return {
        "BLOBS__CONNECTION_STRING_FILE": str(secrets.blob_connection),
        "KEYS_FOLDER": str(secrets.keys_folder),
        "SEAL_KEY_FILE": str(secrets.seal_key),
        "SEAL_CERTIFICATE_FILE": str(secrets.seal_certificate),
        "VENDOR_ROOTS_FILE": str(secrets.vendor_root),
    }


def _scheduler(around: Surroundings) -> dict[str, str]:
    common = {
        "RUNNER_SIGNING_KEY_FILE": str(around.secrets.runner_signing_key),
        # One scheduler at a time: whoever follows one that was killed need not wait for its end.
        "INSTANCE": "local",
    }
    pods = around.pods
    if pods is None:
        return common | {
            "ADAPTER": "processes",
            "WORK_FOLDER": str(around.work_folder),
            # Session processes call home by number: not every resolver knows localhost.
            "GATEWAY_URL": f"http://{LOOPBACK}:{around.gateway_port}",
            "LIFELINE": str(around.lifeline),
        }
    return common | {
        "ADAPTER": "pods",
        "GATEWAY_URL": f"http://{pods.host_address}:{around.gateway_port}",
        "KUBERNETES__KUBECONFIG": str(pods.kubeconfig),
        "KUBERNETES__RUNNER_IMAGE": pods.runner_image,
        "KUBERNETES__IMAGE_PULL_POLICY": pods.pull_policy,
    }


_OWN: dict[str, Callable[[Surroundings], dict[str, str]]] = {
    "accounts": _accounts,
    "gateway": _gateway,
    "packager": _packager,
    "scheduler": _scheduler,
}
