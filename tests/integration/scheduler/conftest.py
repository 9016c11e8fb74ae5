import os
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.sessions import SessionKind, SessionWanted
from slipway_scheduler.units.processes import ProcessUnits

RUNNER = Path(__file__).parent / "fake_runner.py"


@pytest.fixture
def wanted() -> Callable[..., SessionWanted]:
    def make(app: str = "obeys", **more: object) -> SessionWanted:
        return SessionWanted.model_validate(
            {
                "account_id": uuid4(),
                "session_id": uuid4(),
                "kind": SessionKind.WEBUI,
                "app_name": app,
                "app_version": "1",
                "runtime": "1.0.0.1-linux64-x64",
                "admitted_at": utc_now(),
            }
            | more
        )

    return make


@pytest.fixture
async def new_adapter(tmp_path: Path):
    """Adapters on one folder: each new one is a scheduler that has just been started."""
    folder = tmp_path / "work"
    adapters: list[ProcessUnits] = []

    def make() -> ProcessUnits:
        adapters.append(
            ProcessUnits(
                folder,
                gateway_url="http://gateway",
                token_for=lambda wanted: f"token of {wanted.session_id}",
                environment={**os.environ, "SLIPWAY_SCHEDULER_SECRET": "canary", "TZ": "UTC"},
                lifeline=None,
                command=(sys.executable, str(RUNNER)),
            )
        )
        return adapters[-1]

    yield make
    if adapters:
        last = make()
        for session_id in last.look():
            await last.kill(session_id)
    for adapter in adapters:
        for child in adapter._children.values():
            await child.wait()
