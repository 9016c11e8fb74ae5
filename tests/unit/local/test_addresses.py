from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from slipway_local.errors import PartError, tail
from slipway_local.external import External, blob_endpoint, without_password
from slipway_local.kafka import pom
from slipway_local.postgres import others_can_enter
from slipway_local.tools import major_of


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://me:secret@host:1/mine?password=secret", "postgresql://me@host:1/mine"),
        ("postgresql://me:se@cret@host/mine", "postgresql://me@host/mine"),
        ("postgresql://host/mine", "postgresql://host/mine"),
    ],
)
def test_database_address_is_shown_without_its_password(dsn: str, shown: str) -> None:
    assert without_password(dsn) == shown


@pytest.mark.parametrize(
    ("connection_string", "shown"),
    [
        ("AccountName=a;AccountKey=s==;BlobEndpoint=http://h:1/a?sig=s;", "http://h:1/a"),
        (
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=s==;EndpointSuffix=example.org",
            "https://a.blob.example.org",
        ),
    ],
)
def test_blob_address_is_shown_without_its_key(connection_string: str, shown: str) -> None:
    assert blob_endpoint(connection_string) == shown


@pytest.mark.parametrize("address", ["", "host", "host:port", "host:99999999", ","])
async def test_external_address_that_is_none_is_refused(address: str) -> None:
    external = External("kafka", address, variable="SLIPWAY_KAFKA_BOOTSTRAP")

    with pytest.raises(PartError, match="SLIPWAY_KAFKA_BOOTSTRAP"):
        await external.start()


def test_project_file_names_each_artifact_with_its_version() -> None:
    space = "{http://maven.apache.org/POM/4.0.0}"
    found = {
        dependency.findtext(f"{space}artifactId"): dependency.findtext(f"{space}version")
        for dependency in ET.XML(pom()).iter(f"{space}dependency")
    }

    assert found == {"kafka_2.13": "4.1.0", "kafka-tools": "4.1.0", "slf4j-simple": "1.7.36"}


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("8", 8), ("", 0), ("x", 0)])
def test_major_version_is_the_first_number(version: str, major: int) -> None:
    assert major_of(version) == major


def test_folder_below_a_private_one_is_closed_to_others(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "open").mkdir(parents=True)
    private.chmod(0o700)

    assert not others_can_enter(private / "open")
    assert others_can_enter(Path("/usr/bin"))


def test_tail_is_the_end_of_a_log_and_nothing_for_none(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == []

    log.write_bytes(b"\xff\n" + b"line\n" * 30)
    assert tail(log, 2) == ["line", "line"]
    assert tail(log, 100)[0] == "\ufffd"
