"""What the parts of Slipway tell each other. Data only: pydantic and nothing that talks."""
