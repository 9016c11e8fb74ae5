"""What every service tells."""

from prometheus_client import Counter, Histogram

from slipway_common.metrics.buckets import FAST

periodic_failures = Counter(
    "slipway_periodic_failures_total", "Rounds of a periodic step that failed.", ["step"]
)
events_handled = Counter(
    "slipway_events_handled_total", "Events by what became of them.", ["topic", "outcome"]
)
event_handling_seconds = Histogram(
    "slipway_event_handling_seconds", "Time to handle an event.", ["topic"], buckets=FAST
)
events_published = Counter(
    "slipway_events_published_total", "Events acknowledged by Kafka.", ["topic"]
)
