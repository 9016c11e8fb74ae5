"""Every metric of Slipway, with its kind and unit, in one place."""

from prometheus_client import Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)

periodic_failures = Counter(
    "slipway_periodic_failures_total", "Rounds of a periodic step that failed.", ["step"]
)
events_handled = Counter(
    "slipway_events_handled_total", "Events by what became of them.", ["topic", "outcome"]
)
event_handling_seconds = Histogram(
    "slipway_event_handling_seconds", "Time to handle an event.", ["topic"], buckets=_FAST
)
events_published = Counter(
    "slipway_events_published_total", "Events acknowledged by Kafka.", ["topic"]
)
outbox_lag_seconds = Histogram(
    "slipway_outbox_lag_seconds", "From the event to its acknowledgement by Kafka.", buckets=_FAST
)
outbox_backlog = Gauge("slipway_outbox_backlog", "Events that Kafka has not acknowledged yet.")
requests = Counter(
    "slipway_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
request_seconds = Histogram(
    "slipway_http_request_seconds", "Time to answer a request.", ["route"], buckets=_FAST
)
refusals = Counter(
    "slipway_security_refused_total", "Requests refused, by the rule that refused them.", ["rule"]
)
upload_bytes = Counter("slipway_upload_bytes_total", "Bytes taken in from publishers.")
packages_judged = Counter(
    "slipway_packages_judged_total", "Uploads by what became of them.", ["kind", "outcome"]
)
package_seconds = Histogram(
    "slipway_package_seconds", "From the upload's event to its outcome.", buckets=_SLOW
)
sessions_wanted = Gauge("slipway_sessions_wanted", "Sessions that should run.")
sessions_running = Gauge("slipway_sessions_running", "Sessions that answer.")
session_start_seconds = Histogram(
    "slipway_session_start_seconds", "From admission to the first answer.", buckets=_SLOW
)
proxied_connections = Gauge("slipway_proxied_websockets", "WebSockets that are open to sessions.")
