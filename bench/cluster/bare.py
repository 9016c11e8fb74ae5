"""A pod with the image and the walls of a session, and in it nothing but an answer to its probe."""

from typing import Any

from slipway_scheduler.kubernetes.manifests import PORT, USER

_ANSWER = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

HTTPServer(("0.0.0.0", %d), Handler).serve_forever()
"""

_ROOM = {"cpu": "1", "memory": "2Gi"}
"""As much as the session beside it has."""


def bare_pod(name: str, *, image: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "bare",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "command": ["python", "-c", _ANSWER % PORT],
                    "resources": {"requests": _ROOM, "limits": _ROOM},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "startupProbe": {
                        "httpGet": {"path": "/", "port": PORT},
                        "periodSeconds": 1,
                        "timeoutSeconds": 25,
                        "failureThreshold": 60,
                    },
                    "volumeMounts": [{"name": "work", "mountPath": "/work"}],
                }
            ],
            "volumes": [{"name": "work", "emptyDir": {}}],
        },
    }
