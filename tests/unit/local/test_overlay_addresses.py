"""The script that writes the overlay of one's own machine, and addresses that lead nowhere."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "k8s/overlays/dev/generate.py"
GOOD = ["--kafka=10.0.0.1:1", "--postgres=10.0.0.1:2", "--storage=10.0.0.1:3"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize(
    "wrong", ["--kafka=127.0.0.1:9092", "--storage=0.0.0.0:1", "--api-server=127.0.0.1:6443"]
)
def test_an_address_at_which_a_pod_finds_itself_is_refused_unless_it_is_meant(
    wrong: str, tmp_path: Path
) -> None:
    refused = run(str(tmp_path / "overlay"), *GOOD, wrong)
    assert refused.returncode == 2
    assert wrong.replace("=", " ") in refused.stderr
    assert "up --for-pods" in refused.stderr
    assert not (tmp_path / "overlay").exists()

    assert run(str(tmp_path / "overlay"), *GOOD, wrong, "--loopback").returncode == 0


def test_the_options_may_stand_in_a_file(tmp_path: Path) -> None:
    options = tmp_path / "options"
    options.write_text("\n".join(GOOD))

    done = run(str(tmp_path / "overlay"), f"@{options}")

    assert done.returncode == 0, done.stderr
    assert "10.0.0.1:1" in (tmp_path / "overlay/kustomization.yaml").read_text()


def test_help_explains_every_option() -> None:
    words = run("--help").stdout
    assert "None" not in words
    for option in ("--api-server", "--gateway-address", "--keys-folder", "--loopback"):
        assert option in words
