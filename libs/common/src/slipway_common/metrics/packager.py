"""What the packager tells."""

from prometheus_client import Counter, Histogram

from slipway_common.metrics.buckets import SLOW

packages_judged = Counter(
    "slipway_packages_judged_total", "Uploads by what became of them.", ["kind", "outcome"]
)
package_seconds = Histogram(
    "slipway_package_seconds", "From the upload's event to its outcome.", buckets=SLOW
)
