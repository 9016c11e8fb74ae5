"""Start accounts, or make and change accounts as an operator."""

import asyncio
import sys
from contextlib import AsyncExitStack

from slipway_accounts import app, operator
from slipway_accounts.offers import Offers, OffersError
from slipway_accounts.settings import Settings
from slipway_common import logs, process


def main() -> None:
    settings = Settings()
    logs.configure(settings.logs, service="accounts")
    try:
        offers = Offers.read(settings)
    except OffersError as error:
        sys.exit(f"accounts cannot start: {error}")
    if len(sys.argv) > 1:
        sys.exit(asyncio.run(operator.run(settings, offers, sys.argv[1:])))

    async def start(stack: AsyncExitStack) -> None:
        await app.start(settings, offers, stack)

    process.run(start)


if __name__ == "__main__":
    main()
