"""Requests for sessions as nobody sane would make them, but as the contract lets them be."""

import random
from typing import Any
from uuid import UUID

from slipway_common.contracts.sessions import (
    ExternalService,
    Resources,
    SessionKind,
    SessionWanted,
)
from slipway_scheduler.kubernetes.manifests import PORT

CANARY = "canary-of-a-user"
"""In every text that users choose: none of it may come to stand in a pod."""

HOSTILE = (
    "",
    " ",
    "a" * 1_000,
    "../../etc/passwd",
    "/dev/null\x00",
    "line\nbreak\r\n",
    "tab\tand \u2028 and \u202e and \ufeff",
    "☃ 😀 \U0010ffff é",
    "'; DROP TABLE sessions; --",
    '"}], "hostNetwork": true, "x": [{"',
    "- hostPath: {path: /}",
    "{{ .Values.secret }}",
    "${PATH} $(id) `id` %s %n",
    "$(SLIPWAY_RUNNER_TOKEN_FILE)",
    "<script>alert(1)</script>",
    "!!python/object/apply:os.system [id]",
    "&anchor *anchor",
    "null",
    "true",
    "0",
    "-1",
    "1e999",
    "\\ud800",
    "a=b,c in (d),!e",
    "slipway.dev/role",
    "\x7f\x01\x02\x1b[31m",
)
NAMES = ("PATH", "LD_PRELOAD", "_", "A", "KUBERNETES_SERVICE_HOST", "SLIPWAY_RUNNER_TOKEN_FILE")


class Requests:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def next(self) -> SessionWanted:
        pick = self._random
        kind = pick.choice(list(SessionKind))
        return SessionWanted.model_validate(
            {
                "account_id": self._uuid(),
                "session_id": self._uuid(),
                "kind": kind,
                "app_name": self._users_text(),
                "app_version": self._users_text(),
                "runtime": self._users_text(),
                "resources": self._resources(),
                # One that does not fit to its kind comes, too.
                "external": self._external() if pick.random() < 0.5 else None,
                "start_timeout_seconds": self._figure(2**40),
                "max_seconds": self._figure(2**40),
                "idle_seconds": self._figure(2**40),
                "admitted_at": f"{pick.randint(1970, 2100)}-01-01T00:00:00Z",
            }
        )

    def _external(self) -> ExternalService:
        pick = self._random
        ports = [1024, PORT + 1, 65535, pick.randint(PORT + 1, 65535)]
        return ExternalService(
            # Kubernetes takes every text as an image that neither begins nor ends in blanks.
            image=("image" + pick.choice(HOSTILE)).strip()[:500].strip(),
            port=pick.choice(ports),
            command=tuple(text[:1000] for text in pick.choices(HOSTILE, k=pick.randint(0, 5))),
            environment={
                pick.choice(NAMES) + "_" * pick.randint(0, 3): pick.choice(HOSTILE)
                for _ in range(pick.randint(0, 6))
            },
            resources=self._resources(),
        )

    def _resources(self) -> Resources:
        """Within what the namespace lets one container have."""
        inner = "".join(self._random.choices("abcz019-", k=self._random.randint(0, 30)))
        return Resources(
            profile=self._random.choice(["standard", "large", f"a{inner}9"]),
            memory_mib=self._figure(256 * 1024),
            cpu_millis=self._figure(32_000),
            processes=self._figure(2**60),
            disk_mib=self._figure(2**40),
        )

    def _figure(self, most: int) -> int:
        return self._random.choice([1, most, self._random.randint(1, most)])

    def _users_text(self) -> str:
        return CANARY + self._random.choice(HOSTILE)

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


def words(pod: Any) -> set[str]:
    """All texts in a manifest, keys too."""
    match pod:
        case str():
            return {pod}
        case dict():
            return set(pod) | {word for value in pod.values() for word in words(value)}
        case list() | tuple():
            return {word for value in pod for word in words(value)}
        case _:
            return set()
