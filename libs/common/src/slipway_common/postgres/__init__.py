"""PostgreSQL: where truth is."""
