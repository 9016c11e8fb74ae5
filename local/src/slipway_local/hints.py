"""What to do next, in lines that can be pasted into the shell of the checkout."""

import os
import shlex
import sys
from pathlib import Path

from slipway_local.cluster.kubectl import find_kubectl
from slipway_local.environment import PodPlace
from slipway_local.for_pods import StackForPods
from slipway_local.settings import Settings


def look_at_pods(place: PodPlace, settings: Settings) -> str:
    kubectl = _shown(find_kubectl(settings))
    pods = f"{kubectl} --namespace slipway-sessions"
    return f"""
Sessions are pods:
  export KUBECONFIG={_shown(place.kubeconfig)}
  {pods} get pods --label-columns slipway.dev/session
  {pods} describe pods --selector slipway.dev/session=ID
"""


def after_parts(stack: StackForPods) -> str:
    folder = _shown(stack.folder)
    module = f"{_shown(Path(sys.executable))} -m slipway_local"
    return f"""
Deploy the services into the cluster:
  eval "$({module} cluster env)"
  python3 k8s/overlays/dev/generate.py /tmp/slipway-dev @{folder}/options
  kubectl apply --server-side --filename k8s/base/services/namespace.yaml
  python3 k8s/make_secrets.py {folder}/secrets | kubectl apply --server-side --filename -
  kubectl apply --server-side --kustomize /tmp/slipway-dev
  kubectl --namespace slipway rollout status deployment,statefulset"""


def _shown(path: Path) -> str:
    """As short as it can be said in this folder."""
    here = Path(os.path.relpath(path))
    return shlex.quote(str(path if here.parts[:1] == ("..",) else here))
