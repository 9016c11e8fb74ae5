"""Nodes that follow demand: added when sessions wait, removed when nothing needs them."""
