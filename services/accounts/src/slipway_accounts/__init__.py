"""Owner of PostgreSQL."""
