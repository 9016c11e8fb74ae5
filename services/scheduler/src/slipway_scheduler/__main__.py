"""Start the scheduler."""

from contextlib import AsyncExitStack

from slipway_common import logs, process
from slipway_scheduler import app
from slipway_scheduler.settings import Settings


def main() -> None:
    settings = Settings()
    logs.configure(settings.logs, service="scheduler")

    async def start(stack: AsyncExitStack) -> None:
        await app.start(settings, stack)

    process.run(start)


if __name__ == "__main__":
    main()
