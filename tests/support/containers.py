"""Kafka, PostgreSQL and Azurite from published images, where a Docker engine is at hand."""

from contextlib import ExitStack
from types import TracebackType
from typing import Self

from testcontainers.community.azurite import AzuriteContainer
from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer

POSTGRES_IMAGE = "postgres:18.6"
KAFKA_IMAGE = "apache/kafka:4.1.0"


class Containers:
    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._postgres = self._stack.enter_context(PostgresContainer(POSTGRES_IMAGE, driver=None))
        self._kafka = self._stack.enter_context(KafkaContainer(KAFKA_IMAGE).with_kraft())
        self._azurite = self._stack.enter_context(AzuriteContainer())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def addresses(self) -> dict[str, str]:
        """As environment variables, which win over local servers."""
        return {
            "SLIPWAY_POSTGRES_DSN": self._postgres.get_connection_url(),
            "SLIPWAY_KAFKA_BOOTSTRAP": self._kafka.get_bootstrap_server(),
            "SLIPWAY_BLOB_CONNECTION": self._azurite.get_connection_string(),
        }
