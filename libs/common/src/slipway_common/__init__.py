"""What every part of Slipway shares."""
