"""Every metric of Slipway, with its kind and unit, in modules by who tells it.

Whoever imports a module tells all of its metrics, also those that it never sets. So a service
imports its own alone: a zero of one that has nothing to do with it would look like an answer, and
that a service is gone shows by its metrics being gone.
"""
