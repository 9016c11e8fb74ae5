"""What the services tell that answer requests: gateway and accounts."""

from prometheus_client import Counter, Histogram

from slipway_common.metrics.buckets import FAST

requests = Counter(
    "slipway_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
request_seconds = Histogram(
    "slipway_http_request_seconds", "Time to answer a request.", ["route"], buckets=FAST
)
refusals = Counter(
    "slipway_security_refused_total", "Requests refused, by the rule that refused them.", ["rule"]
)
