"""Serves every metric of Slipway with values in it, as the services do, for Prometheus to read.

Run as a program of its own: what it counts would else be counted in the process of the tests.
"""

import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, make_wsgi_app
from typing_extensions import override

from slipway_common.metrics import (
    accounts,
    gateway,
    nodes,
    packager,
    scheduler,
    shared,
    web,
)

LABELS = {"status": ("200", "503"), "state": ("free", "wanted"), "outcome": ("done", "dead")}
"""Label → values that stand for themselves in queries; others are named after their label."""

TICK_SECONDS = 0.2


class Quiet(WSGIRequestHandler):
    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def all_metrics() -> list[Counter | Gauge | Histogram]:
    return [
        each
        for module in (shared, web, accounts, gateway, packager, scheduler, nodes)
        for each in vars(module).values()
        if isinstance(each, Counter | Gauge | Histogram)
    ]


def move(metric: Counter | Gauge | Histogram) -> None:
    names = metric._labelnames
    rounds = max([len(LABELS.get(name, "?")) for name in names], default=1)
    for number in range(rounds):
        values = [LABELS.get(name, (name,) * rounds)[number] for name in names]
        child = metric.labels(*values) if names else metric
        match child:
            case Counter():
                child.inc()
            case Gauge():
                child.set(1)
            case Histogram():
                child.observe(0.5)


def main() -> None:
    with make_server(
        "127.0.0.1", int(sys.argv[1]), make_wsgi_app(REGISTRY), handler_class=Quiet
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ticking = threading.Event()
        while not ticking.wait(TICK_SECONDS):
            for metric in all_metrics():
                move(metric)


if __name__ == "__main__":
    main()
