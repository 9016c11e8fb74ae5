"""What the web servers of Slipway have in common."""
