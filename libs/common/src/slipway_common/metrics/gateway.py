"""What the gateway tells."""

from prometheus_client import Counter, Gauge

upload_bytes = Counter("slipway_upload_bytes_total", "Bytes taken in from publishers.")
proxied_connections = Gauge("slipway_proxied_websockets", "WebSockets that are open to sessions.")
