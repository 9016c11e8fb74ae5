"""Kubeconfigs for service accounts, so that a service runs with its own rights and no more."""

from datetime import timedelta
from pathlib import Path

from slipway_local.cluster.api import Api
from slipway_local.cluster.control.kubeconfig import with_token, write_kubeconfig


async def token_of(api: Api, *, namespace: str, account: str, lifetime: timedelta) -> str:
    """Have a token made that is bound to the account, and dies with it."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": int(lifetime.total_seconds())},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    answer = await api.create(path, request)
    return str(answer["status"]["token"])


async def write_account_kubeconfig(
    folder: Path, api: Api, *, namespace: str, account: str, lifetime: timedelta
) -> Path:
    """Write a kubeconfig with a fresh token of the account, which has to exist."""
    token = await token_of(api, namespace=namespace, account=account, lifetime=lifetime)
    path = folder / f"{namespace}.{account}.kubeconfig"
    write_kubeconfig(
        path,
        server=api.server,
        authority=api.authority,
        user=with_token(token),
        namespace=namespace,
    )
    return path
