"""The local stack: real Kafka, PostgreSQL and Azurite on one machine."""
