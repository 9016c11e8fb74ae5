"""The slipway command."""

from slipway_client.cli.app import main

__all__ = ["main"]
