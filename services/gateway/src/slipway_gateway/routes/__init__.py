"""HTTP in: the public API, one module per thing, each call one use case."""
