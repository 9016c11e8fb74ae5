"""Prints the secrets of an installation as manifests, made from a folder with one file each.

    python3 k8s/make_secrets.py FOLDER | kubectl apply --server-side --filename -

Each service gets what it needs and nothing else. Nothing is written anywhere: the values go from
their files into the pipe. It needs Python alone.
"""

import argparse
import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMESPACE = "slipway"

SHARES: Mapping[str, tuple[str, ...]] = {
    "accounts": ("blob-connection", "postgres-passfile", "service-token", "signing.key"),
    "gateway": (
        "blob-connection",
        "runner-verification.pem",
        "seal.pem",
        "service-token",
        "session-secret",
    ),
    "packager": ("blob-connection", "seal.key", "seal.pem", "vendor-root.pem"),
    "scheduler": ("runner-signing.key",),
}
"""Service → names of the files that it gets, as keys of the secret ``slipway-SERVICE``."""

OPTIONAL: Mapping[str, tuple[str, ...]] = {"accounts": ("admin-password",)}
"""The first admin's password is only there where a first admin is to be made."""


class MissingError(Exception):
    """Files that a service needs are not in the folder."""


def manifests(folder: Path) -> list[dict[str, Any]]:
    missing = sorted(
        {name for names in SHARES.values() for name in names if not (folder / name).is_file()}
    )
    if missing:
        raise MissingError(f"{folder} lacks {', '.join(missing)}")
    return [_secret(service, folder) for service in SHARES]


def _secret(service: str, folder: Path) -> dict[str, Any]:
    optional = [name for name in OPTIONAL.get(service, ()) if (folder / name).is_file()]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"slipway-{service}",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/part-of": "slipway"},
        },
        "type": "Opaque",
        "data": {
            name: base64.b64encode((folder / name).read_bytes()).decode()
            for name in (*SHARES[service], *optional)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="holds the secrets, one file each")
    folder: Path = parser.parse_args().folder
    if sys.stdout.isatty():
        sys.exit("this would show every secret: pipe it into kubectl")
    try:
        items = manifests(folder)
    except MissingError as error:
        sys.exit(str(error))
    json.dump({"apiVersion": "v1", "kind": "List", "items": items}, sys.stdout)


if __name__ == "__main__":
    main()
