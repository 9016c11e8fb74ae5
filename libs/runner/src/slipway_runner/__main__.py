"""Run one session."""

import os
import signal


def main() -> None:
    # The first process of a container loses a signal that it does not handle; a stop that comes
    # while we are still starting waits until somebody hears it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})

    import asyncio

    from slipway_common import logs
    from slipway_common.settings import LogSettings
    from slipway_runner import app, orphans
    from slipway_runner.settings import Settings

    settings = Settings()
    logs.configure(LogSettings(), service="runner")
    asyncio.run(app.run(settings))
    # Whatever the app has started ends with the session; and what is in our group, with us.
    orphans.end_all()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
