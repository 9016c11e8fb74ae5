"""The part of the command line that is about the cluster."""

import asyncio
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated, cast

import typer
from rich.console import Console

from slipway_local.cluster.cluster import Cluster
from slipway_local.cluster.images.own import NAMES
from slipway_local.cluster.kubectl import find_kubectl
from slipway_local.cluster.machine.network import Claims
from slipway_local.cluster.members import Nodes
from slipway_local.cluster.place import cluster_state
from slipway_local.cluster.preparation import prepare
from slipway_local.daemon import bring_down, bring_up
from slipway_local.display import ProgressDisplay, doctor_table, status_table
from slipway_local.doctor import Diagnosis
from slipway_local.errors import LocalError
from slipway_local.settings import Settings, is_root, read_settings
from slipway_local.stack import Stack
from slipway_local.status import STOPPED, Phase, Status, as_json, read_status
from slipway_local.supervisor import run_supervisor
from slipway_local.tools import find, require_all

FAILED = 1
MISSING = 3

NodesOption = Annotated[Nodes, typer.Option("--nodes", help="Which nodes pods can run on.")]


class Commands:
    """The commands, in the words and on the terminal of the whole command line."""

    def __init__(
        self, told: Callable[[], AbstractContextManager[None]], console: Callable[[], Console]
    ) -> None:
        """``told`` says what went wrong; ``console`` is where all else is said."""
        self._told = told
        self._console = console

    def app(self) -> typer.Typer:
        app = typer.Typer(help="A real Kubernetes on this machine.", no_args_is_help=True)
        for command in (
            self.up,
            self.down,
            self.status,
            self.env,
            self.doctor,
            self.build,
            self.clean,
        ):
            app.command()(command)
        app.command(hidden=True)(self.supervise)
        return app

    def up(
        self,
        *,
        nodes: NodesOption = Nodes.KUBELET,
        foreground: Annotated[
            bool, typer.Option("--foreground", help="Stay, and stop everything on Ctrl-C.")
        ] = False,
    ) -> None:
        """Start the cluster, with our images on a real node, unless it runs already."""
        with self._told():
            settings = read_settings()
            cluster = _cluster(settings, nodes)
            known = read_status(cluster.state.status_file)
            running = known.supervisor is not None
            if running and foreground:
                raise LocalError("the cluster runs already; stop it first with: cluster down")
            if not running:
                cluster.check()
                require_all(cluster.needed_tools(), settings)
            names = tuple(part.name for part in known.parts) if running else cluster.names
            missing = [name for name in cluster.names if name not in names]
            if missing:
                raise LocalError(
                    f"the cluster that runs was started without {', '.join(missing)}; "
                    "stop it first with: cluster down"
                )

            def ready(status: Status) -> None:
                text = "The cluster runs already." if running else "The cluster is ready."
                _show(self._console(), text, status)

            display = ProgressDisplay(self._console(), names, known=known if running else STOPPED)
            if foreground:
                # The supervisor asks of a stack only what a cluster can do as well.
                run_supervisor(cast("Stack", cluster), progress=display.hear, ready=ready)
                return
            command = [sys.executable, "-m", "slipway_local", "cluster", "supervise"]
            with display:
                status = asyncio.run(
                    bring_up(
                        cluster.state,
                        [*command, f"--nodes={nodes}"],
                        environment=dict(os.environ),
                        watch=display.see,
                    )
                )
            ready(status)

    def supervise(self, *, nodes: NodesOption = Nodes.KUBELET) -> None:
        """Be the supervisor; `up` starts this."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        with self._told():
            run_supervisor(cast("Stack", _cluster(read_settings(), nodes)))

    def down(self) -> None:
        """Stop the cluster; its objects and images stay."""
        with self._told():
            settings = read_settings()
            self._console().print(
                "Stopped." if bring_cluster_down(settings) else "Nothing was running."
            )

    def status(
        self, *, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
    ) -> None:
        """Show the parts. The exit status is 0 if all run, otherwise 1."""
        with self._told():
            found = read_status(cluster_state(read_settings()).status_file)
            if json:
                typer.echo(as_json(found))
            elif found.parts:
                _show(self._console(), f"The cluster is {found.phase}.", found)
            else:
                self._console().print("Nothing is running.")
            if not found.good:
                raise typer.Exit(FAILED)

    def env(self) -> None:
        """Print where the cluster is as shell exports, and kubectl if the path has none."""
        with self._told():
            found = read_status(cluster_state(read_settings()).status_file)
            if found.supervisor is None or found.phase is not Phase.READY:
                raise LocalError("the cluster is not running; start it with: cluster up")
            for variable, word in found.exports.items():
                typer.echo(f"export {variable}={word}")
            kubectl = find_kubectl(read_settings())
            if shutil.which("kubectl") is None:
                typer.echo(f'export PATH="$PATH":{shlex.quote(str(kubectl.parent))}')

    def doctor(self, *, nodes: NodesOption = Nodes.KUBELET) -> None:
        """Tell what is needed, what is there, and how to install the rest."""
        with self._told():
            settings = read_settings()
            tools = _cluster(settings, nodes).needed_tools()
            findings = [find(tool, settings) for tool in tools]
            diagnoses = [
                Diagnosis(found.tool.name, found.version, found.good, found.problem)
                for found in findings
            ]
            self._console().print(doctor_table(diagnoses))
        if not all(diagnosis.good for diagnosis in diagnoses):
            raise typer.Exit(MISSING)

    def build(self, *, nodes: NodesOption = Nodes.BOTH) -> None:
        """Build what a first start would have to build, and start nothing."""
        with self._told():
            settings = read_settings()
            cluster = _cluster(settings, nodes)
            cluster.check()
            require_all(cluster.needed_tools(), settings)
            cluster.state.open()
            log = cluster.state.log("build")
            asyncio.run(prepare(nodes, settings=settings, log=log, note=self._console().print))

    def clean(self) -> None:
        """Stop the cluster and delete its objects and images. What was built stays."""
        with self._told():
            settings = read_settings()
            bring_cluster_down(settings)
            cluster_state(settings).remove()
            self._console().print("Stopped, and the data deleted.")


def _cluster(settings: Settings, nodes: Nodes) -> Cluster:
    return Cluster(nodes=nodes, settings=settings, images=NAMES if nodes.real else ())


def bring_cluster_down(settings: Settings) -> bool:
    """Stop it, and remove what a killed one has left of its network; False if nothing ran."""
    stopped = asyncio.run(bring_down(cluster_state(settings)))
    if is_root():
        Claims(settings.cache_folder / "networks").sweep()
    return stopped


def _show(console: Console, headline: str, status: Status) -> None:
    console.print(headline)
    console.print(status_table(status))
