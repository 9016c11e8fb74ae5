"""Compose file, operators' page and services agree: on settings, on secrets, on images."""

import importlib
import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parents[2]
SERVICES = ("accounts", "gateway", "packager", "scheduler")
SECRETS_FOLDER = "/run/slipway/"


@pytest.fixture(scope="module")
def compose() -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="module")
def secret_maker() -> Mapping[str, Any]:
    return runpy.run_path(str(ROOT / "local/compose/make_secrets.py"))


def settings_of(service: str) -> type[BaseSettings]:
    found: type[BaseSettings] = importlib.import_module(f"slipway_{service}.settings").Settings
    return found


def variables(model: type[BaseModel], prefix: str, *, required: bool = True) -> Iterator[tuple]:
    """Name of each variable, and whether the service starts without it."""
    for name, field in model.model_fields.items():
        needed = required and field.is_required()
        groups = [field.annotation, *getattr(field.annotation, "__args__", ())]
        group = next(
            (each for each in groups if isinstance(each, type) and issubclass(each, BaseModel)),
            None,
        )
        if group is None:
            yield f"{prefix}{name}".upper(), needed
        else:
            yield from variables(group, f"{prefix}{name}__", required=needed)


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_and_every_required_setting_is_given(
    compose: Mapping[str, Any], service: str
) -> None:
    known = dict(variables(settings_of(service), f"SLIPWAY_{service}_"))
    given = set(compose["services"][service]["environment"])

    assert given <= known.keys()
    assert {name for name, needed in known.items() if needed} <= given


@pytest.mark.parametrize("service", SERVICES)
def test_the_settings_can_be_read(
    compose: Mapping[str, Any], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in compose["services"][service]["environment"].items():
        monkeypatch.setenv(name, value)

    assert settings_of(service)()


def test_each_service_gets_the_secrets_that_it_names_and_no_others(
    compose: Mapping[str, Any], secret_maker: Mapping[str, Any]
) -> None:
    for service, shared in secret_maker["SHARES"].items():
        described = (
            yaml.safe_dump(compose["services"][service].get("environment", {}), width=1000)
            if service != "azurite"
            else (ROOT / "local/azurite/Dockerfile").read_text()
        )
        named = re.findall(rf"{SECRETS_FOLDER}([\w.-]+)", described)
        assert set(named) == set(shared), service
        assert (
            f"{service}-secrets:{SECRETS_FOLDER[:-1]}:ro" in compose["services"][service]["volumes"]
        )


def test_secrets_are_made_once(tmp_path: Path, secret_maker: Mapping[str, Any]) -> None:
    for service in secret_maker["SHARES"]:
        (tmp_path / service).mkdir()

    def made() -> dict[Path, bytes]:
        secret_maker["make"](tmp_path)
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    first = made()
    assert made() == first
    assert {path.stat().st_mode & 0o777 for path in first} == {0o600}


def test_nothing_is_open_to_other_machines(compose: Mapping[str, Any]) -> None:
    ports = [port for each in compose["services"].values() for port in each.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_healthy_when_it_says_that_it_is_ready(
    compose: Mapping[str, Any], service: str
) -> None:
    described = compose["services"][service]
    port = described["environment"][f"SLIPWAY_{service.upper()}_HEALTH__PORT"]

    assert f"http://127.0.0.1:{port}/readyz" in described["healthcheck"]["test"][-1]


def test_services_that_share_a_network_share_no_port(compose: Mapping[str, Any]) -> None:
    ports = [
        value
        for service in ("gateway", "scheduler")
        for name, value in compose["services"][service]["environment"].items()
        if name.endswith("__PORT")
    ]
    assert len(ports) == len(set(ports))


def test_every_volume_and_dependency_exists(compose: Mapping[str, Any]) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= compose["services"].keys()
        named = {volume.partition(":")[0] for volume in service.get("volumes", ())}
        assert named <= compose["volumes"].keys()


def test_images_are_built_from_what_is_there(compose: Mapping[str, Any]) -> None:
    for service in compose["services"].values():
        if "image" in service:
            continue
        context = ROOT / service["build"]["context"]
        dockerfile = context / service["build"].get("dockerfile", "Dockerfile")
        text = dockerfile.read_text()
        base = next(iter(service["build"]["args"]))
        assert f"ARG {base}=" in text
        assert "USER 10001" in text
        for line in text.splitlines():
            if line.startswith("COPY ") and "--from" not in line:
                for source in line.split()[1:-1]:
                    assert (context / source).exists(), line


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_for_operators_names_every_setting(service: str) -> None:
    page = (ROOT / "docs/operators.md").read_text()
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", page))
    prefix = f"SLIPWAY_{service}_".upper()
    known = {name.removeprefix(prefix) for name, _ in variables(settings_of(service), prefix)}

    assert known <= named


def test_the_page_for_operators_names_every_metric() -> None:
    page = (ROOT / "docs/operators.md").read_text()
    modules = (ROOT / "libs/common/src/slipway_common/metrics").glob("*.py")
    named = re.findall(r'"(slipway_\w+)"', "".join(module.read_text() for module in modules))

    assert named
    assert [name for name in named if name not in page] == []


def test_the_readme_of_the_runner_names_every_setting() -> None:
    page = (ROOT / "libs/runner/README.md").read_text()

    assert [
        name
        for name, _ in variables(settings_of("runner"), "SLIPWAY_RUNNER_")
        if f"`{name}`" not in page
    ] == []
