"""The first portal: log on, apps, sessions, tasks and account as plain pages and forms."""

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from slipway_gateway.accounts import AccountsClient
from slipway_gateway.cookies import LogOnCookie
from slipway_gateway.identity import Identities
from slipway_gateway.pages import Pages
from slipway_gateway.portal import account, apps, assets, failures, logon, sessions, tasks
from slipway_gateway.routes.dependencies import MAX_JSON_BYTES
from slipway_gateway.sessions import SessionService


def install(
    app: FastAPI,
    accounts: AccountsClient,
    identities: Identities,
    session_service: SessionService,
    cookie: LogOnCookie,
    pages: Pages,
) -> None:
    app.state.pages = pages
    for router in (
        assets.build(pages),
        logon.build(accounts, identities, cookie, pages),
        apps.build(accounts, session_service, pages),
        sessions.build(accounts, session_service, pages),
        tasks.build(accounts, pages),
        account.build(accounts, pages),
    ):
        app.include_router(router, include_in_schema=False, max_body_size=MAX_JSON_BYTES)
    app.add_exception_handler(HTTPException, failures.on_http)
