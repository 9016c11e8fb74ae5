"""What the scheduler tells of nodes."""

from prometheus_client import Counter, Gauge, Histogram

from slipway_common.metrics.buckets import FAST, SLOW

node_pools = Gauge("slipway_node_pools", "Node pools that are to be looked after.")
node_leader = Gauge("slipway_node_leader", "1 where nodes are looked after.")
node_look_seconds = Histogram(
    "slipway_node_look_seconds", "Time of one look at nodes, actions included.", buckets=FAST
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
    buckets=SLOW,
)
