"""Measurements, on real parts and next to a floor or a peer in the same run."""
