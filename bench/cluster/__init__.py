"""Sessions in a cluster, measured: real parts, fake nodes where many are needed, one machine."""
