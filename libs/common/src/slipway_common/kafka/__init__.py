"""Kafka: an at-least-once pipe."""
