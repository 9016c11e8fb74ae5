"""What a stack with pods needs before it starts, and what has to be stopped after it.

The local cluster is started for the stack if none runs, and only then it is stopped with it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from slipway_local.cluster.commands import Commands, bring_cluster_down
from slipway_local.cluster.kubectl import apply_sessions
from slipway_local.cluster.members import Nodes
from slipway_local.cluster.place import (
    cluster_state,
    named_cluster,
    named_place,
    own_place,
    refuse_other_services,
)
from slipway_local.environment import PodPlace
from slipway_local.errors import LocalError
from slipway_local.in_pods import InPods, Record, read_record, write_record
from slipway_local.processes import Identity
from slipway_local.settings import Settings
from slipway_local.state import State
from slipway_local.status import read_status


@dataclass(frozen=True, slots=True)
class Arrangement:
    settings: Settings
    state: State
    cluster: Commands
    console: Callable[[], Console]

    @property
    def record(self) -> Record:
        return read_record(self.state.pods_file)

    def prepare(self, in_pods: InPods) -> Record:
        """Have a cluster ready for what is to run in pods, and remember all that."""
        self.state.open()
        record = Record(in_pods, cluster=self.record.cluster)
        if in_pods is not InPods.NOTHING:
            record = Record(in_pods, self._place(in_pods), self.record.cluster)
        write_record(self.state.pods_file, record)
        return record

    def stop_cluster(self) -> bool:
        """Stop the cluster if it was started for this stack; False if there was nothing to stop."""
        record = self.record
        if record.cluster is None:
            return False
        running = self._supervisor()
        stopped = False
        if running in {None, record.cluster}:
            stopped = bring_cluster_down(self.settings)
        write_record(self.state.pods_file, record.without_cluster())
        return stopped

    def _place(self, in_pods: InPods) -> PodPlace:
        named = named_cluster(self.settings, own_runs=self._supervisor() is not None)
        if in_pods is InPods.SERVICES and named is not None:
            raise LocalError(
                f"{named.variable} names a cluster, and only the local one can be given what "
                f"services in pods need: unset {named.variable}"
            )
        if named is None:
            self._start_cluster(in_pods)
            place = asyncio.run(own_place(self.settings))
        else:
            self._say(f"using the cluster that {named.variable} names ({named.kubeconfig})")
            place = asyncio.run(named_place(named, self.settings))
        if in_pods is InPods.SESSIONS:
            asyncio.run(refuse_other_services(place.kubeconfig))
            self._say("giving the cluster what sessions need there")
            apply_sessions(place.kubeconfig, self.settings)
        return place

    def _start_cluster(self, in_pods: InPods) -> None:
        before = self._supervisor()
        self.cluster.up(nodes=Nodes.KUBELET)
        if before is None:
            # At once, so that it is stopped with the rest whatever fails from here on.
            started = Record(in_pods, self.record.place, self._supervisor())
            write_record(self.state.pods_file, started)

    def _supervisor(self) -> Identity | None:
        return read_status(cluster_state(self.settings).status_file).supervisor

    def _say(self, line: str) -> None:
        self.console().print(line, markup=False, soft_wrap=True)
