"""Own a cluster with one pod until killed: ``own_cluster.py STATE_FOLDER``; says when it is up."""

import asyncio
import sys
from pathlib import Path

from slipway_local.cluster.cluster import Cluster

PODS = "/api/v1/namespaces/default/pods"
POD = {
    "metadata": {"name": "left-behind"},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "slipway-pause:1",
                "imagePullPolicy": "Never",
                "volumeMounts": [{"name": "memory", "mountPath": "/memory"}],
            }
        ],
        "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}],
    },
}


async def main() -> None:
    cluster = Cluster(Path(sys.argv[1]), nodes="kubelet")
    await cluster.start()
    await cluster.api.create(PODS, POD)
    while True:
        pod = await cluster.api.get(f"{PODS}/left-behind")
        assert pod is not None
        if pod["status"]["phase"] == "Running":
            break
        await asyncio.sleep(0.1)
    print("running", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
