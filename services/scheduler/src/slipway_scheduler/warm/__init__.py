"""Pods that wait, with their runtime at hand, for the session that they will become."""
