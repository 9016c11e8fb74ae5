"""A cluster for tests: a fake API server for faults on demand, and what judges real ones."""
