"""Nodes and pods without machines: what KWOK makes of them, and how slowly.

Annotations say how long things take, in seconds and fractions:
on a node, ``slipway.dev/boot-seconds``, from its creation until it is Ready;
on a pod, ``slipway.dev/start-seconds`` until it is Ready, ``slipway.dev/run-seconds``
until it ends by itself (never, unless given), ``slipway.dev/stop-seconds`` from the
wish to delete it until it is gone. A pod that ends by itself succeeds, unless
``slipway.dev/exit-code`` says otherwise. A change to a pod begins its wait anew.
"""

FAKE_ANNOTATION = "kwok.x-k8s.io/node"
FAKE = "fake"
BOOT_SECONDS = "slipway.dev/boot-seconds"
START_SECONDS = "slipway.dev/start-seconds"
RUN_SECONDS = "slipway.dev/run-seconds"
STOP_SECONDS = "slipway.dev/stop-seconds"
EXIT_CODE = "slipway.dev/exit-code"
