"""The engine: loads one app, runs one procedure at a time, tells everybody who watches.

All of it lives on the event loop; only the loading of the app and the procedures have threads.
"""

import asyncio
import logging
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slipway_open.app import App, Service
from slipway_open.archive import AppArchive, AppManifest
from slipway_open.control import Scope
from slipway_open.execution import Execution
from slipway_open.failures import format_failure, loading_problem
from slipway_open.files import project
from slipway_open.importer import ArchiveImporter
from slipway_open.inputs import json_pointer
from slipway_open.lines import RunLine
from slipway_open.problems import AppNotLoadableError, Problem, ProblemType, RequestRefusedError
from slipway_open.text import infinite_at, sendable_json

logger = logging.getLogger(__name__)

Watcher = Callable[[Execution, RunLine | None], None]


@dataclass(frozen=True, slots=True)
class Loading:
    pass


@dataclass(frozen=True, slots=True)
class Ready:
    app: App
    manifest: AppManifest
    archive: AppArchive
    initial: dict[str, Any]
    """What the page shows before the first run."""


@dataclass(frozen=True, slots=True)
class Broken:
    problem: Problem


EngineState = Loading | Ready | Broken


class Engine:
    def __init__(self) -> None:
        self.state: EngineState = Loading()
        self.execution: Execution | None = None
        """The run that goes on, or else the last one."""

        self._watchers: set[Watcher] = set()

    async def load(self, read_archive: Callable[[], AppArchive]) -> None:
        """Load the app on a thread, so that health can be asked for meanwhile."""
        began = time.monotonic()
        loaded = await asyncio.to_thread(load_app, read_archive)
        self.state = loaded
        match loaded:
            case Broken(problem):
                logger.error("the app cannot be loaded: %s", problem.detail)
            case Ready(manifest=manifest):
                duration = time.monotonic() - began
                logger.info("%s %s loaded in %.2f s", manifest.name, manifest.version, duration)

    def loaded(self) -> Ready:
        """Raise the refusal that a request gets while there is no app."""
        match self.state:
            case Ready() as ready:
                return ready
            case Broken(problem):
                refusal = RequestRefusedError(500, problem.type, problem.title, problem.detail)
                raise refusal
            case Loading():
                raise RequestRefusedError(503, ProblemType.LOADING, "The app is still loading")

    def service(self, name: str) -> Service:
        service = self.loaded().app.services.get(name)
        if service is None:
            raise RequestRefusedError(
                404, ProblemType.SERVICE_UNKNOWN, f"The app has no service {name!r}"
            )
        return service

    @property
    def busy(self) -> bool:
        return self.execution is not None and self.execution.end is None

    def start(
        self,
        service: Service,
        values: Mapping[str, Any],
        *,
        run_id: str | None = None,
        prints_log: bool = False,
    ) -> Execution:
        """Begin a run; refuse it while another goes on.

        Who reads the lines of a run also logs them; a run without a reader prints its log.
        """
        if self.busy:
            raise RequestRefusedError(409, ProblemType.BUSY, "Another run is going on")
        execution = Execution(
            run_id=run_id or uuid.uuid4().hex,
            service=service,
            values=values,
            app_files=self.loaded().archive.names,
            on_line=self._tell,
            prints_log=prints_log,
            value_before=self.execution.value if self.execution else None,
        )
        self.execution = execution
        execution.start()
        self._tell(execution, None)
        return execution

    def interrupt(self, scope: Scope, *, run_id: str | None = None) -> None:
        """Interrupt the run that goes on, if any; with an id, only that one."""
        current = self.execution
        if run_id is not None and (current is None or current.run_id != run_id):
            raise RequestRefusedError(
                409, ProblemType.RUN_UNKNOWN, "This run is not going on in this session"
            )
        if current is not None:
            current.interrupt(scope)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher`` with each line of each run, and None for a start; returns the undo."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def _tell(self, execution: Execution, line: RunLine | None) -> None:
        for watcher in tuple(self._watchers):
            watcher(execution, line)


def load_app(read_archive: Callable[[], AppArchive]) -> Ready | Broken:
    """Read, import and check; whatever goes wrong becomes the problem that health shows."""
    names: frozenset[str] = frozenset()
    try:
        archive = read_archive()
        names = archive.names
        manifest = archive.manifest()
        importer = ArchiveImporter(archive)
        importer.install()
        project.open(archive)
        app = importer.load(manifest.entry)
        if not isinstance(app, App):
            raise AppNotLoadableError(f"{manifest.entry!r} is not a slipway_open.App.")
        for service in manifest.services:
            if service.name not in app.services:
                raise AppNotLoadableError(
                    f"The manifest names the service {service.name!r}, "
                    f"which {manifest.entry!r} does not offer."
                )
        for name in app.page.services or ():
            if name not in app.services:
                raise AppNotLoadableError(
                    f"The page names the service {name!r}, which the app does not offer."
                )
        initial = sendable_json(app.page.initial()) if app.page.initial else {}
        place = infinite_at(initial)
        if place is not None:
            raise AppNotLoadableError(
                f"The page's initial value has no finite number at {json_pointer(place)}."
            )
        return Ready(app=app, manifest=manifest, archive=archive, initial=initial)
    except (Exception, SystemExit) as error:
        if not isinstance(error, AppNotLoadableError):
            sys.stderr.write(format_failure(error, names))
        return Broken(loading_problem(error, names))
