"""What manifests say about the programs that they run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]

KINDS = ("Deployment", "StatefulSet")
SERVICES = ("accounts", "gateway", "packager", "scheduler")
NAME = "app.kubernetes.io/name"


@dataclass(frozen=True)
class Workload:
    manifest: Manifest
    maps: Mapping[str, Manifest]
    """ConfigMaps by name."""

    @property
    def service(self) -> str:
        name: str = self.manifest["metadata"]["name"]
        return name.removeprefix("slipway-")

    @property
    def pod(self) -> Manifest:
        spec: Manifest = self.manifest["spec"]["template"]["spec"]
        return spec

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.manifest["spec"]["template"]["metadata"]["labels"]
        return found

    @property
    def containers(self) -> list[Manifest]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def main(self) -> Manifest:
        (container,) = self.pod["containers"]
        found: Manifest = container
        return found

    @property
    def environment(self) -> dict[str, str]:
        """As the process sees it; what comes from the pod itself is left out."""
        found: dict[str, str] = {}
        for source in self.main["envFrom"]:
            data = self.maps[source["configMapRef"]["name"]]["data"]
            found |= {source["prefix"] + name: value for name, value in data.items()}
        own = self.main.get("env", [])
        return found | {one["name"]: one["value"] for one in own if "value" in one}

    @property
    def mounted_files(self) -> dict[str, str]:
        """Path in the main container → where it comes from, as ``kind/name``."""
        folders = {mount["name"]: mount["mountPath"] for mount in self.main["volumeMounts"]}
        return {
            f"{folders[volume['name']]}/{name}": source
            for volume in self.pod["volumes"]
            if volume["name"] in folders
            for name, source in self._files(volume)
        }

    @property
    def secret_keys(self) -> dict[str, set[str]]:
        """Name of each secret → its keys that are mounted."""
        found: dict[str, set[str]] = {}
        for volume in self.pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                keys = {item["key"] for item in source["secret"]["items"]}
                found.setdefault(source["secret"]["name"], set()).update(keys)
        return found

    def _files(self, volume: Manifest) -> Iterator[tuple[str, str]]:
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                yield item["path"], f"Secret/{source['secret']['name']}"
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            for key in self.maps[name]["data"]:
                yield key, f"ConfigMap/{name}"


def workloads(manifests: Iterable[Manifest]) -> dict[str, Workload]:
    """By service."""
    found = list(manifests)
    maps = {one["metadata"]["name"]: one for one in found if one["kind"] == "ConfigMap"}
    made = [Workload(one, maps) for one in found if one["kind"] in KINDS]
    return {one.service: one for one in made}


def of_kind(manifests: Iterable[Manifest], *kinds: str) -> dict[str, Manifest]:
    """Those of these kinds, by name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] in kinds}
