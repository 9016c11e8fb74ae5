"""SQL, one module per thing; nobody else writes any."""
