"""Encryption of packages and of what tasks carry."""
