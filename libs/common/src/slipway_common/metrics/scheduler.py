"""What the scheduler tells of sessions, of the API server, and of pods that wait."""

from prometheus_client import Counter, Gauge, Histogram

from slipway_common.metrics.buckets import SLOW

sessions_wanted = Gauge("slipway_sessions_wanted", "Sessions that should run.")
sessions_running = Gauge("slipway_sessions_running", "Sessions that answer.")
session_start_seconds = Histogram(
    "slipway_session_start_seconds", "From admission to the first answer.", buckets=SLOW
)
session_action_failures = Counter(
    "slipway_session_action_failures_total", "Actions of the scheduler that failed, to be repeated."
)
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
