"""Run one session."""

import asyncio

from slipway_common import logs
from slipway_common.settings import LogSettings
from slipway_runner import app
from slipway_runner.settings import Settings


def main() -> None:
    settings = Settings()
    logs.configure(LogSettings(), service="runner")
    asyncio.run(app.run(settings))


if __name__ == "__main__":
    main()
