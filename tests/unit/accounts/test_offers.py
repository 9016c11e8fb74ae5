"""What the operator offers is read strictly: a file that is wrong stops the start, in words."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway_accounts.offers import Offers, OffersError, version_of_image
from slipway_accounts.settings import Settings
from slipway_common.contracts.sessions import ExternalService, Resources
from slipway_common.contracts.views import ProfileView

SERVICE = {"title": "Notebooks", "image": "notebooks:1", "port": 8888}
ENVIRONMENT = {
    "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "POSTGRES__DSN": "postgresql://127.0.0.1:1/x",
    "BLOBS__CONNECTION_STRING_FILE": "/nowhere",
    "HTTP__PORT": "0",
    "HEALTH__PORT": "0",
    "SERVICE_TOKEN_FILE": "/nowhere",
    "SIGNING_KEY_FILE": "/nowhere",
    "KEYS_FOLDER": "/nowhere",
}


def settings(**changes: Any) -> Settings:
    return Settings.model_validate(
        {
            "kafka": {"bootstrap_servers": "x"},
            "postgres": {"dsn": "x"},
            "blobs": {"connection_string_file": "x"},
            "http": {"port": 0},
            "health": {"port": 0},
            "service_token_file": "x",
            "signing_key_file": "x",
            "keys_folder": "x",
        }
        | changes
    )


def written(folder: Path, content: Any) -> Path:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_without_files_there_is_the_standard_profile_and_no_service() -> None:
    offers = Offers.read(settings())

    assert offers.profiles == {"standard": Resources()}
    assert offers.services == {}
    assert (offers.idle_range.lowest, offers.idle_range.highest) == (5, 86400)


def test_profiles_are_read_with_their_figures(tmp_path: Path) -> None:
    path = written(tmp_path, {"large": {"memory_mib": 8192, "cpu_millis": 4000}, "small": {}})

    offers = Offers.read(settings(resource_profiles_file=path))

    assert offers.profiles["large"] == Resources(profile="large", memory_mib=8192, cpu_millis=4000)
    assert [view.name for view in offers.profile_views()] == ["standard", "small", "large"]
    assert offers.profile_views()[2] == ProfileView(
        name="large", memory_mib=8192, cpu_millis=4000, processes=256, disk_mib=4096
    )


def test_the_standard_profile_may_be_changed(tmp_path: Path) -> None:
    path = written(tmp_path, {"standard": {"memory_mib": 512}})

    offers = Offers.read(settings(resource_profiles_file=path))

    assert offers.profiles == {"standard": Resources(memory_mib=512)}


def test_services_are_read_with_their_containers(tmp_path: Path) -> None:
    given = SERVICE | {"command": ["serve"], "resources": {"memory_mib": 512}, "idle_seconds": 7}
    path = written(tmp_path, {"notebooks": given})

    offers = Offers.read(settings(external_services_file=path))

    offer = offers.services["notebooks"]
    assert (offer.idle_seconds, offer.max_seconds) == (7, 43200)
    assert offer.container("notebooks") == ExternalService(
        image="notebooks:1",
        port=8888,
        command=("serve",),
        resources=Resources(profile="notebooks", memory_mib=512),
    )
    assert [(view.name, view.title) for view in offers.service_views()] == [
        ("notebooks", "Notebooks")
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Invalid JSON"),
        ([], "the file: Input should be an object"),
        ({"Notebooks": SERVICE}, "should match pattern"),
        ({"a" * 33: SERVICE}, "should match pattern"),
        ({"x": {**SERVICE, "prot": 1}}, "x.prot: Extra inputs are not permitted"),
        ({"x": {"title": "X", "image": "x:1"}}, "x.port: Field required"),
        ({"x": {**SERVICE, "port": 80}}, "x.port: Input should be greater than or equal to 1024"),
        ({"x": {**SERVICE, "port": "8888"}}, "x.port: Input should be a valid integer"),
        ({"x": {**SERVICE, "image": "has blanks"}}, "x.image: String should match"),
        ({"x": {**SERVICE, "image": ""}}, "x.image: String should match"),
        ({"x": {**SERVICE, "title": ""}}, "x.title: String should have at least 1"),
        ({"x": {**SERVICE, "idle_seconds": 0}}, "x.idle_seconds: Input should be greater"),
        ({"x": {**SERVICE, "environment": {"A B": "1"}}}, "x.environment.A B"),
        ({"x": {**SERVICE, "environment": {"A": 1}}}, "x.environment.A: Input should be"),
        ({"x": {**SERVICE, "resources": {"memory_mib": -1}}}, "x.resources.memory_mib"),
        ({"x": {**SERVICE, "resources": {"profile": "large"}}}, "x.resources.profile"),
    ],
)
def test_a_file_of_services_that_is_wrong_says_where(
    tmp_path: Path, content: Any, words: str
) -> None:
    path = written(tmp_path, content)

    with pytest.raises(OffersError) as found:
        Offers.read(settings(external_services_file=path))

    assert str(path) in str(found.value)
    assert words in str(found.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"large": {"memory": 1}}, "large.memory: Extra inputs"),
        ({"large": {"memory_mib": 0}}, "large.memory_mib: Input should be greater than 0"),
        ({"Large": {}}, "should match pattern"),
        ({"large": 3}, "large: Input should be"),
    ],
)
def test_a_file_of_profiles_that_is_wrong_says_where(
    tmp_path: Path, content: Any, words: str
) -> None:
    with pytest.raises(OffersError) as found:
        Offers.read(settings(resource_profiles_file=written(tmp_path, content)))

    assert words in str(found.value)


def test_a_range_that_holds_nothing_is_refused() -> None:
    with pytest.raises(OffersError, match="shortest idle time"):
        Offers.read(
            settings(shortest_idle_time=timedelta(hours=2), longest_idle_time=timedelta(hours=1))
        )


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("notebooks:2026.1", "2026.1"),
        ("images.example:5000/team/notebooks:2026.1", "2026.1"),
        ("images.example:5000/team/notebooks", "latest"),
        ("notebooks", "latest"),
        ("notebooks@sha256:0123456789abcdef0123", "0123456789ab"),
        ("images.example:5000/notebooks:7@sha256:0123456789abcdef", "7"),
    ],
)
def test_an_image_has_a_version_that_people_know(image: str, version: str) -> None:
    assert version_of_image(image) == version


@pytest.mark.parametrize("content", ['{"x": {"port": 1}}', None])
def test_a_wrong_file_stops_the_start_with_a_sentence(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "services.json"
    if content is not None:
        path.write_text(content)
    given = ENVIRONMENT | {"EXTERNAL_SERVICES_FILE": str(path)}

    done = subprocess.run(
        [sys.executable, "-m", "slipway_accounts"],
        env=os.environ | {f"SLIPWAY_ACCOUNTS_{name}": value for name, value in given.items()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith(f"accounts cannot start: {path}")
    assert "Traceback" not in done.stderr
