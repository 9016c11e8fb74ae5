"""The control plane, and who may ask it for what."""
