"""Be the supervisor of two fake services: ``run_supervisor.py STATE_FOLDER``."""

import sys
from pathlib import Path

from slipway_local.service import ServiceDefinition
from slipway_local.stack import Stack
from slipway_local.supervisor import run_supervisor

FAKE = str(Path(__file__).with_name("fake_service.py"))

run_supervisor(
    Stack(
        Path(sys.argv[1]),
        parts=(),
        services=[
            ServiceDefinition(name, (sys.executable, FAKE, name)) for name in ("first", "second")
        ],
    )
)
