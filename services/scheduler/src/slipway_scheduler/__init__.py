"""Runs what is wanted."""
