"""``python -m slipway_client`` is the slipway command."""

from slipway_client.cli import main

main()
