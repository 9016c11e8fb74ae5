"""The real node: what stands for its machine, and what runs in it."""
