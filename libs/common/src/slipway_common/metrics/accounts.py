"""What accounts tells of its outbox."""

from prometheus_client import Gauge, Histogram

from slipway_common.metrics.buckets import FAST

outbox_lag_seconds = Histogram(
    "slipway_outbox_lag_seconds", "From the event to its acknowledgement by Kafka.", buckets=FAST
)
outbox_backlog = Gauge("slipway_outbox_backlog", "Events that Kafka has not acknowledged yet.")
