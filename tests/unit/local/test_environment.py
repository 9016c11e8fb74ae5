from pathlib import Path

import pytest

from slipway_local.environment import Surroundings, service_environment
from slipway_local.secrets import Secrets

AROUND = Surroundings(
    kafka_bootstrap="127.0.0.1:1",
    postgres_dsn="postgresql://slipway@127.0.0.1:2/slipway",
    secrets=Secrets(Path("/state/secrets")),
    lifeline=Path("/state/run/lifeline.sock"),
    work_folder=Path("/state/work"),
    accounts_port=3,
    gateway_port=4,
)

COMMON = {"KAFKA__BOOTSTRAP_SERVERS", "HEALTH__PORT", "LOGS__FORMAT"}


@pytest.mark.parametrize(
    ("name", "port", "own"),
    [
        (
            "accounts",
            3,
            {
                "POSTGRES__DSN",
                "HTTP__PORT",
                "SERVICE_TOKEN_FILE",
                "SIGNING_KEY_FILE",
                "KEYS_FOLDER",
                "BLOBS__CONNECTION_STRING_FILE",
                "FIRST_ADMIN__ACCOUNT",
                "FIRST_ADMIN__USER",
                "FIRST_ADMIN__PASSWORD_FILE",
            },
        ),
        (
            "gateway",
            4,
            {
                "HTTP__PORT",
                "PUBLIC_URL",
                "SESSIONS_HOST",
                "ACCOUNTS_URL",
                "SERVICE_TOKEN_FILE",
                "KEYS_FOLDER",
                "BLOBS__CONNECTION_STRING_FILE",
                "SESSION_SECRET_FILE",
                "RUNNER_VERIFICATION_KEY_FILE",
                "SEAL_CERTIFICATE_FILE",
            },
        ),
        (
            "packager",
            None,
            {
                "BLOBS__CONNECTION_STRING_FILE",
                "KEYS_FOLDER",
                "SEAL_KEY_FILE",
                "SEAL_CERTIFICATE_FILE",
                "VENDOR_ROOTS_FILE",
            },
        ),
        (
            "scheduler",
            None,
            {
                "WORK_FOLDER",
                "GATEWAY_URL",
                "RUNNER_SIGNING_KEY_FILE",
                "LIFELINE",
                "ADAPTER",
                "INSTANCE",
            },
        ),
        ("another-one", None, set()),
    ],
)
def test_service_is_told_exactly_what_it_needs(name: str, port: int | None, own: set[str]) -> None:
    given = service_environment(name, AROUND, port=port, health_port=5)

    prefix = f"SLIPWAY_{name.upper().replace('-', '_')}_"
    assert set(given) == {prefix + variable for variable in COMMON | own}


def test_only_accounts_is_told_where_the_database_is() -> None:
    for name in ("gateway", "packager", "scheduler"):
        given = service_environment(name, AROUND, port=None, health_port=5)

        assert AROUND.postgres_dsn not in given.values()


def test_sessions_have_a_host_of_their_own_below_the_public_port() -> None:
    given = service_environment("gateway", AROUND, port=4, health_port=5)

    assert given["SLIPWAY_GATEWAY_PUBLIC_URL"] == "http://localhost:4"
    assert given["SLIPWAY_GATEWAY_SESSIONS_HOST"] == "sessions.localhost:4"
