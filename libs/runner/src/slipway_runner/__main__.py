"""Run one session."""

import asyncio
import os
import signal

from slipway_common import logs
from slipway_common.settings import LogSettings
from slipway_runner import app
from slipway_runner.settings import Settings


def main() -> None:
    settings = Settings()
    logs.configure(LogSettings(), service="runner")
    asyncio.run(app.run(settings))
    # Whatever the app has started in our process group ends with the session, and so do we.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
