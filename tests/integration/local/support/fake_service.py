"""A service that does nothing but tell that it is ready, and what it was given.

``fake_service.py NAME`` listens where the environment says. Requests: ``/readyz``,
``/environment`` and ``/orphan``, which starts a process that is to outlive it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        match self.path:
            case "/readyz":
                content = "ready"
            case "/environment":
                content = json.dumps(dict(os.environ))
            case "/orphan":
                program = [sys.executable, "-c", "import time; time.sleep(600)"]
                content = str(subprocess.Popen(program, start_new_session=True).pid)
            case _:
                self.send_error(404)
                return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *arguments):
        pass


def main(name):
    port = int(os.environ[f"SLIPWAY_{name.upper()}_HEALTH__PORT"])
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.02)
    print("stopped at", time.monotonic_ns())


main(sys.argv[1])
