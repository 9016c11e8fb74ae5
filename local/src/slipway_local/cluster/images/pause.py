"""The image of what holds a pod's network open: one program, built with Kubernetes."""

import shutil
import tempfile
from pathlib import Path

from slipway_local.cluster.images.oci import Image, Run, write_layer, write_simple_archive
from slipway_local.cluster.machine.node import PAUSE_IMAGE

NOBODY = "65534:65534"


def write_pause_archive(path: Path, *, program: Path) -> None:
    name = PAUSE_IMAGE.partition(":")[0]
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        root = Path(work) / "root"
        root.mkdir()
        shutil.copy(program, root / "pause")
        layer = write_layer(Path(work) / "layer.tar", [("/", root)])
        image = Image(name, (layer,), Run(entrypoint=("/pause",), user=NOBODY))
        write_simple_archive(path, image, name=PAUSE_IMAGE)
