"""What a session is to run, and whether all that it needs for that is there."""

from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from slipway_accounts.catalogue import find_app, newest_runtime
from slipway_accounts.offers import STANDARD, Offers
from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import LaunchRequest
from slipway_common.postgres.database import Connection


@dataclass(frozen=True, slots=True)
class Runtime:
    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Target:
    """An app on a runtime, or a service of the operator's."""

    kind: SessionKind
    name: str
    version: str
    profile: str
    app_id: UUID | None = None
    """None of a service."""
    release: str | None = None
    """Of the runtime that the app needs; None of a service."""

    @classmethod
    def of_app(cls, row: Any, kind: SessionKind) -> Self:
        facts = row["facts"]
        return cls(
            kind=kind,
            name=row["name"],
            version=row["version"],
            profile=facts.get("profile", STANDARD),  # packages of earlier releases lack it
            app_id=row["id"],
            release=facts["runtime"],
        )

    @classmethod
    def of_queued(cls, row: Any) -> Self:
        return cls(
            kind=SessionKind(row["kind"]),
            name=row["name"],
            version=row["version"],
            profile=row["profile"],
            app_id=row["app_id"],
            release=row["release"],
        )


async def choose(
    tx: Connection, account_id: UUID, request: LaunchRequest, *, offers: Offers
) -> Target:
    """Raise a problem if there is no such app or service."""
    if request.kind is SessionKind.EXTERNAL:
        assert request.service is not None
        offer = offers.services.get(request.service)
        if offer is None:
            raise _not_offered(request.service, offers)
        return Target(
            kind=request.kind,
            name=request.service,
            version=offer.version,
            profile=request.service,  # its figures are its own
        )
    assert request.app is not None
    app = await find_app(tx, account_id, name=request.app, version=request.version)
    return Target.of_app(app, request.kind)


async def require(
    tx: Connection, account_id: UUID, target: Target, *, offers: Offers
) -> Runtime | None:
    """The runtime to run it on, or None if it needs none; raise a problem if anything is missing.

    Asked at the launch, and again when it is admitted: what was there may be gone by then.
    """
    if target.release is None:
        if target.name not in offers.services:
            raise _not_offered(target.name, offers)
        return None
    app = f"{target.name} {target.version}"
    if target.profile not in offers.profiles:
        known = [view.name for view in offers.profile_views()]
        raise problem(
            Code.PROFILE_UNKNOWN,
            f"{app} asks for the profile “{target.profile}”. There are: {', '.join(known)}.",
            profiles=known,
        )
    runtime = await newest_runtime(tx, account_id, target.release)
    if runtime is None:
        raise problem(
            Code.RUNTIME_NOT_FOUND,
            f"{app} needs runtime {target.release}. Publish it first.",
        )
    return Runtime(*runtime)


def _not_offered(service: str, offers: Offers) -> ProblemError:
    known = sorted(offers.services)
    offered = f"Offered are: {', '.join(known)}." if known else "The operator offers none."
    return problem(
        Code.SERVICE_NOT_OFFERED, f"“{service}” is not offered. {offered}", services=known
    )
