"""Container images made on this machine, and in no registry."""
