"""What the API server writes down of each request, for tests that ask who did what.

Secrets are told of, never shown: not even their names' neighbours are in a body.
"""

from typing import Any

COMPLETE_ONLY = ["RequestReceived", "ResponseStarted", "Panic"]
"""Stages left out; what remains is one line per request, when it is over."""


def policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": COMPLETE_ONLY,
        "omitManagedFields": True,
        "rules": [
            # The first rule that fits decides. Tokens are answers to requests for them.
            _rule("Metadata", "", "secrets", "configmaps", "serviceaccounts/token"),
            _rule("Metadata", "authentication.k8s.io", "tokenreviews"),
            # Each node renews its lease every few seconds; that is nothing to write down.
            {
                "level": "None",
                "userGroups": ["system:nodes"],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {
                "level": "None",
                "users": ["slipway:kwok"],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
            # What is watched or listed is as large as the cluster.
            {"level": "Metadata", "verbs": ["get", "list", "watch"]},
            _rule("RequestResponse", "", "pods", "pods/*", "nodes", "nodes/*"),
            _rule("RequestResponse", "coordination.k8s.io", "leases"),
            {"level": "Metadata"},
        ],
    }


def _rule(level: str, group: str, *resources: str) -> dict[str, Any]:
    return {"level": level, "resources": [{"group": group, "resources": list(resources)}]}
