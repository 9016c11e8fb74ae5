"""Settings of the scheduler: the only reader of the environment."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, IPvAnyNetwork, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from slipway_common.settings import (
    HttpSettings,
    KafkaSettings,
    LogSettings,
    PositiveDuration,
    SettingsGroup,
)
from slipway_scheduler.nodes.aks import AksSettings
from slipway_scheduler.nodes.specs import NodeLimits


class KubernetesSettings(SettingsGroup):
    kubeconfig: Path | None = None
    """None: the scheduler itself runs in a pod of the cluster."""

    namespace: str = "slipway-sessions"
    """Of session pods, and of nothing else."""

    own_namespace: str = "slipway"
    """Where schedulers agree on who leads, and keep what is known of node pools."""

    runner_image: str = "slipway-runner:dev"
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    service_account: str = "slipway-session"
    """Has no rights, and its token is in no pod."""

    priority_class: str = "slipway-session"
    runtime_class: str | None = None
    """For a stronger wall than the kernel's own, such as gVisor or Kata."""

    disk_limits: bool = True
    """False for nodes that do not account for scratch space."""

    node_pool_of: Mapping[str, str] = Field(default_factory=dict)
    """Resource profile to node pool, which nodes carry as the label ``slipway.dev/pool``."""

    node_lost_after: PositiveDuration = timedelta(seconds=20)
    """A node that is not ready for so long is given up, and the sessions on it with it."""

    give_up_after: PositiveDuration | None = None
    """A pod that does not end for so long counts as ended; None: it holds its place for ever."""

    warm_policies_file: Path | None = None
    """JSON list of warm pools (docs/operators.md); None: no pod waits."""

    egress_file: Path | None = None
    """JSON: account id to the networks that its sessions may reach; None: none may any."""

    never_networks: Annotated[tuple[IPvAnyNetwork, ...], Field(max_length=50)] = ()
    """Closed to sessions whatever the file above says: the cluster's own ranges."""

    node_pools_file: Path | None = None
    """JSON list of node pools (docs/operators.md); None: nodes are as they are."""

    cloud: Literal["autoscaler", "aks", "kwok"] = "autoscaler"
    """Who makes and removes nodes: the cluster's own autoscaler (we keep room free and tell how
    long it takes), AKS by our orders, or KWOK, whose nodes run nothing."""

    aks: AksSettings | None = None
    fake_boot: PositiveDuration = timedelta(seconds=20)
    """Of KWOK's nodes."""

    node_limits: NodeLimits = NodeLimits()
    placeholder_image: str = "pause:3.10"

    writes_per_second: Annotated[float, Field(gt=0)] = 500
    writes_burst: Annotated[int, Field(gt=0)] = 500

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.cloud == "aks" and self.aks is None:
            raise ValueError("cloud is aks, and nothing says which cluster that is: set aks")
        return self


class Settings(BaseSettings):
    """``SLIPWAY_SCHEDULER_KAFKA__BOOTSTRAP_SERVERS`` sets ``kafka.bootstrap_servers``."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_SCHEDULER_",
        env_nested_delimiter="__",
        frozen=True,
        use_attribute_docstrings=True,
    )

    kafka: KafkaSettings
    health: HttpSettings
    logs: LogSettings = LogSettings()

    adapter: Literal["processes", "pods"] = "processes"
    """Where sessions run: as processes of this machine, or as pods of a cluster."""

    instance: str | None = None
    """A name that one scheduler at a time has, so that its successor takes over its share at once;
    without one, that takes as long as Kafka needs to notice (6 s)."""

    work_folder: Path | None = None
    """Of processes: each session has a folder of its own in it."""

    kubernetes: KubernetesSettings = KubernetesSettings()
    """Of pods."""

    gateway_url: str
    """Where runners call home."""

    runner_signing_key_file: Path
    """Ed25519 key (PEM) that signs the tokens of runners."""

    lifeline: Path | None = None
    """Socket that a local stack holds open while it lives; sessions end with it."""

    reconcile_interval: PositiveDuration = timedelta(milliseconds=250)
    """Of processes, which do not tell of their changes: pause between two looks at everything."""

    resync_interval: PositiveDuration = timedelta(seconds=5)
    """Of pods: the same, for what only time has changed; all else is acted on at once."""

    task_grace: PositiveDuration = timedelta(seconds=30)
    """After a task's time limit its solver is stopped; the best result may take this long."""

    stop_grace: PositiveDuration = timedelta(seconds=10)
    """From the polite request to end to the kill."""
