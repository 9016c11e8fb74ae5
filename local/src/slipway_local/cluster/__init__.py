"""A real Kubernetes cluster on one machine, without any image registry."""
