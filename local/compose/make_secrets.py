"""Makes the secrets of a compose installation once, and hands each service its own and no other.

All of them lie in ``/secrets/all``, which no service sees; each service sees a volume that has
copies of what it needs. A second run changes nothing.
"""

from collections.abc import Mapping
from pathlib import Path

from slipway_local.files import write_atomically
from slipway_local.secrets import Secrets

ROOT = Path("/secrets")
BLOB_ACCOUNT = "devaccount"
DATABASE_USER = "slipway"

SHARES: Mapping[str, tuple[str, ...]] = {
    "accounts": (
        "admin-password",
        "blob-connection",
        "postgres-passfile",
        "service-token",
        "signing.key",
    ),
    "gateway": (
        "blob-connection",
        "runner-verification.pem",
        "seal.pem",
        "service-token",
        "session-secret",
    ),
    "packager": ("blob-connection", "seal.key", "seal.pem", "vendor-root.pem"),
    "scheduler": ("runner-signing.key",),
    "azurite": ("blob-account-key",),
    "postgres": ("postgres-password",),
}
"""Service → names of the files that it gets."""


def make(root: Path) -> None:
    secrets = Secrets(root / "all")
    secrets.make()
    key = secrets.blob_account_key.read_text()
    write_atomically(
        secrets.blob_connection,
        f"DefaultEndpointsProtocol=http;AccountName={BLOB_ACCOUNT};AccountKey={key};"
        f"BlobEndpoint=http://azurite:10000/{BLOB_ACCOUNT};",
    )
    write_atomically(
        secrets.postgres_passfile,
        f"*:*:*:{DATABASE_USER}:{secrets.postgres_password.read_text()}\n",
    )
    for service, names in SHARES.items():
        for name in names:
            write_atomically(root / service / name, (secrets.folder / name).read_bytes())


if __name__ == "__main__":
    make(ROOT)
