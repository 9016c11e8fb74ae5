"""Layers and archives of images: the same content comes out the same, whatever else changes."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from slipway_local.cluster.binaries import KUBERNETES, go_mod, staging_modules
from slipway_local.cluster.images.debian import mirror_in
from slipway_local.cluster.images.oci import Image, Layer, Run, write_archive, write_layer
from slipway_local.cluster.images.requirements import outside_requirements

RUN = Run(entrypoint=("/program",), user="10001:10001")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("one")
    (root / "bin" / "tool").chmod(0o755)
    (root / "bin" / "other").symlink_to("tool")
    (root / "empty").mkdir()
    (root / "empty" / "leftover").write_text("not wanted")
    return root


def members(layer: Layer) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer.path) as archive:
        return {member.name: member for member in archive}


def test_a_layer_goes_by_content_and_not_by_time(tmp_path: Path, files: Path) -> None:
    first = write_layer(tmp_path / "first.tar", [("/opt/x", files)])
    os.utime(files / "bin" / "tool", (1, 1))
    second = write_layer(tmp_path / "second.tar", [("/opt/x", files)])
    (files / "bin" / "tool").write_text("two")
    third = write_layer(tmp_path / "third.tar", [("/opt/x", files)])

    assert first.digest == second.digest != third.digest


def test_a_layer_holds_the_folders_above_and_what_it_is_told_to_leave_out_is_empty(
    tmp_path: Path, files: Path
) -> None:
    layer = write_layer(tmp_path / "layer.tar", [("/opt/x", files)], without=["/opt/x/empty"])

    found = members(layer)

    names = ["opt", "opt/x", "opt/x/bin", "opt/x/bin/other", "opt/x/bin/tool", "opt/x/empty"]
    assert list(found) == names
    assert found["opt/x/bin/tool"].mode == 0o755
    assert found["opt/x/bin/other"].linkname == "tool"


def test_an_archive_leaves_out_layers_that_are_there_already(tmp_path: Path, files: Path) -> None:
    low = write_layer(tmp_path / "low.tar", [("/", files)])
    high = write_layer(tmp_path / "high.tar", [("/opt/x", files)])
    image = Image("thing", (low, high), RUN)

    write_archive(tmp_path / "image.tar", image, names=["a/thing:1"], present=[low.digest])

    with tarfile.open(tmp_path / "image.tar") as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    assert f"blobs/{high.digest.replace(':', '/')}" in names
    assert f"blobs/{low.digest.replace(':', '/')}" not in names
    assert index["manifests"][0]["digest"] == image.digest


def test_requirements_follow_our_own_members_with_their_extras() -> None:
    projects = {
        "ours-low": {
            "name": "ours-low",
            "dependencies": ["alpha==1"],
            "optional-dependencies": {"more": ["beta[fast]==2"]},
        },
        "ours-high": {"name": "ours-high", "dependencies": ["ours-low[more]", "gamma==3"]},
    }

    assert outside_requirements(projects, [("ours-low", ())]) == ["alpha==1"]
    assert outside_requirements(projects, [("ours-high", ())]) == [
        "alpha==1",
        "beta[fast]==2",
        "gamma==3",
    ]


def test_the_mirror_is_the_one_of_the_release_and_not_of_its_updates() -> None:
    targets = [
        "Sources bookworm http://mirror.test/debian/",
        "Packages bookworm-updates http://updates.test/debian/",
        "Packages bookworm http://mirror.test/debian/",
    ]

    assert mirror_in(targets) == "http://mirror.test/debian/"
    assert mirror_in(targets[:2]) is None


def test_modules_that_kubernetes_takes_from_its_own_tree_are_replaced_by_their_releases() -> None:
    module = {
        "Replace": [
            {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
            {"Old": {"Path": "example.test/x"}, "New": {"Path": "example.test/y"}},
        ]
    }

    text = go_mod(KUBERNETES, dict.fromkeys(staging_modules(module), "0.35.4"))

    assert "replace k8s.io/api => k8s.io/api v0.35.4\n" in text
    assert "example.test" not in text
    assert "require k8s.io/kubernetes v1.35.4\n" in text
