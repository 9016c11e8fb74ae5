"""The Kubernetes API, as far as the scheduler uses it; nothing else of ours talks to it."""
