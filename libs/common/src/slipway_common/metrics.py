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
session_action_failures = Counter(
    "slipway_session_action_failures_total", "Actions of the scheduler that failed, to be repeated."
)
proxied_connections = Gauge("slipway_proxied_websockets", "WebSockets that are open to sessions.")
kubernetes_requests = Counter(
    "slipway_kubernetes_requests_total", "Requests to the API server.", ["method", "status"]
)
kubernetes_relists = Counter(
    "slipway_kubernetes_relists_total", "Times that a mirror was filled anew.", ["resource"]
)
kubernetes_mirror_age_seconds = Gauge(
    "slipway_kubernetes_mirror_age_seconds", "Since the API server said anything.", ["resource"]
)
warm_members = Gauge(
    "slipway_warm_members", "Pods that wait for sessions.", ["runtime", "profile", "state"]
)
warm_pools_held = Gauge(
    "slipway_warm_pools_held",
    "1 while a pool is not refilled because its pods fail.",
    ["runtime", "profile"],
)
node_leader = Gauge("slipway_node_leader", "1 where nodes are looked after.")
node_look_seconds = Histogram(
    "slipway_node_look_seconds", "Time of one look at nodes, actions included.", buckets=_FAST
)
nodes = Gauge("slipway_node_count", "Nodes by how they are.", ["pool", "phase"])
node_pods_waiting = Gauge("slipway_node_pods_waiting", "Pods that wait for a node.", ["pool"])
node_orders = Counter(
    "slipway_node_orders_total", "Orders that the cloud took: size or remove.", ["pool", "order"]
)
node_failures = Counter(
    "slipway_node_failures_total", "Nodes that were refused, failed or came too late.", ["pool"]
)
node_boot_seconds = Histogram(
    "slipway_node_boot_seconds",
    "From asking for a node until it is ready.",
    ["pool"],
    buckets=_SLOW,
)
