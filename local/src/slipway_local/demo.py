"""The demo: a runtime and the sample app published, and on request the whole job done once."""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from slipway_client import Slipway, SlipwayProblem
from slipway_client.pack import pack, sealed_file
from slipway_common.contracts.views import PackageState, PackageView, SessionState
from slipway_local.environment import DEMO_ACCOUNT, DEMO_ADMIN
from slipway_local.errors import LocalError
from slipway_local.secrets import Secrets

APP = "depots"
RUNTIME_ID = "1.0.0.1-linux64-x64"
SMALL_MODEL = {"region": "British Isles", "most_cities": 20, "candidates": 8, "max_depots": 4}
"""An instance of the sample app that is solved within seconds."""

JUDGE_SECONDS = 60.0

Say = Callable[[str], None]


class Demo:
    def __init__(self, url: str, secrets: Secrets, *, repository: Path, say: Say) -> None:
        self._secrets = secrets
        self._repository = repository
        self._say = say
        self._client = Slipway(url)

    def close(self) -> None:
        self._client.close()

    @property
    def password(self) -> str:
        return self._secrets.admin_password.read_text().strip()

    def publish(self) -> None:
        """Publish runtime and app, unless they are there from an earlier start."""
        self._client.login(account=DEMO_ACCOUNT, user=DEMO_ADMIN, password=self.password)
        if not any(runtime.id == RUNTIME_ID for runtime in self._client.runtimes.list()):
            self._say("building and signing the open runtime")
            archive = self._build_runtime()
            self._say(f"publishing runtime {RUNTIME_ID}")
            self._wait_for(self._client.packages.publish_runtime(archive))
        if not any(app.name == APP for app in self._client.apps.list()):
            self._say(f"packing, sealing and publishing {APP}")
            self._run("examples/depots/prepare.py")
            with pack(self._repository / "examples/depots") as packed, sealed_file() as sealed:
                packed.seal(self._client.seal(), sealed)
                self._wait_for(self._client.packages.publish_app(sealed))

    def run_once(self) -> dict[str, Any]:
        """Launch the app, solve a real model as a task, stop what was started; the result."""
        before = self._open_sessions()
        self._say(f"launching {APP}")
        started = time.monotonic()
        session = self._client.sessions.launch(APP)
        for view in self._client.sessions.watch(session.id):
            if view.message:
                self._say(f"  {view.message}")
            if view.state.over:
                raise LocalError(f"the session did not start: {view.message}")
            if view.state is SessionState.RUNNING:
                break
        self._say(f"  running after {time.monotonic() - started:.1f} s")
        self._client.sessions.ticket(session.id)
        self._say("solving a model as a task")
        try:
            result: dict[str, Any] = self._client.tasks.run(
                APP, "solve", SMALL_MODEL, time_limit=timedelta(seconds=60)
            )
        except SlipwayProblem as problem:
            raise LocalError(f"the task failed: {problem}") from problem
        for other in self._open_sessions() - before:
            self._stop(other)
        return result

    def _open_sessions(self) -> set[UUID]:
        return {session.id for session in self._client.sessions.list(open_only=True)}

    def _stop(self, session_id: UUID) -> None:
        """Return once it is over, so that nothing is cut off when the rest is stopped."""
        self._client.sessions.stop(session_id)
        for view in self._client.sessions.watch(session_id):
            if view.state.over:
                return

    def _build_runtime(self) -> Path:
        output = self._secrets.vendor_root.parent.parent / "dist"
        self._run(
            "runtimes/open/build.py",
            *("--output", str(output)),
            *("--signer", str(self._secrets.vendor_signer)),
            *("--key", str(self._secrets.vendor_signer_key)),
            *("--id", RUNTIME_ID),
        )
        return output / f"{RUNTIME_ID}.zip"

    def _run(self, script: str, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, str(self._repository / script), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LocalError(f"{script} failed:\n{done.stderr.strip()[-2000:]}")

    def _wait_for(self, package: PackageView) -> None:
        ends_at = time.monotonic() + JUDGE_SECONDS
        for view in self._client.packages.watch(package.id):
            if view.state is PackageState.REJECTED:
                reasons = "; ".join(reason.message for reason in view.reasons)
                raise LocalError(f"{view.name} was rejected: {reasons}")
            if view.state is PackageState.READY:
                return
            if time.monotonic() > ends_at:
                break
        raise LocalError(f"nothing was heard of {package.name}; look at the packager's log")
