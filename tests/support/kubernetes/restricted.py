"""What the Pod Security profile ``restricted`` finds wrong with a pod, of our own reading.

It stands beside the real server's own judgement, for what is made where no server runs; both are
held to the same examples. Linux pods only, and stricter in one thing: a pod with a user namespace
of its own may not run as root either.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]

VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
     "projected", "secret", "image"}
)  # fmt: skip
SYSCTLS = frozenset(
    {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range",
     "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
     "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
     "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
     "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
)  # fmt: skip
SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
PROFILES = "container.apparmor.security.beta.kubernetes.io/"


def violations(pod: Object) -> list[str]:
    """Empty: it is admitted."""
    spec = pod.get("spec") or {}
    checks: Iterable[Callable[[Object], Iterable[str]]] = (
        _host_namespaces,
        _windows,
        _privileged,
        _volumes,
        _host_ports,
        _escalation,
        _capabilities,
        _users,
        _seccomp,
        _labels_of_the_kernel,
        _proc_and_sysctls,
        _probes,
    )
    found = [words for check in checks for words in check(spec)]
    for key, value in ((pod.get("metadata") or {}).get("annotations") or {}).items():
        if key.startswith(PROFILES) and value.partition("/")[0] not in {"runtime", "localhost"}:
            found.append(f"forbidden AppArmor profile ({key}={value})")
    return found


def containers(spec: Object) -> list[Object]:
    return [
        container
        for part in ("initContainers", "containers", "ephemeralContainers")
        for container in spec.get(part) or []
    ]


def _host_namespaces(spec: Object) -> Iterable[str]:
    shared = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if shared:
        yield f"host namespaces ({', '.join(shared)})"


def _windows(spec: Object) -> Iterable[str]:
    for name, security in _securities(spec):
        if (security.get("windowsOptions") or {}).get("hostProcess"):
            yield f"hostProcess ({name} must not set securityContext.windowsOptions.hostProcess)"


def _privileged(spec: Object) -> Iterable[str]:
    for container in containers(spec):
        if _security(container).get("privileged"):
            yield f"privileged ({_titled(container)} must not set securityContext.privileged=true)"


def _volumes(spec: Object) -> Iterable[str]:
    for volume in spec.get("volumes") or []:
        kinds = [key for key in volume if key != "name"]
        if any(kind not in VOLUMES for kind in kinds):
            yield (
                f'restricted volume types (volume "{volume["name"]}" uses restricted volume type '
                f'"{kinds[0]}")'
            )


def _host_ports(spec: Object) -> Iterable[str]:
    for container in containers(spec):
        for port in container.get("ports") or []:
            if port.get("hostPort"):
                yield f"hostPort ({_titled(container)} uses hostPort {port['hostPort']})"


def _escalation(spec: Object) -> Iterable[str]:
    for container in containers(spec):
        if _security(container).get("allowPrivilegeEscalation") is not False:
            yield (
                f"allowPrivilegeEscalation != false ({_titled(container)} must set "
                "securityContext.allowPrivilegeEscalation=false)"
            )


def _capabilities(spec: Object) -> Iterable[str]:
    for container in containers(spec):
        capabilities = _security(container).get("capabilities") or {}
        added = set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}
        if "ALL" not in (capabilities.get("drop") or []):
            yield (
                f"unrestricted capabilities ({_titled(container)} must set "
                'securityContext.capabilities.drop=["ALL"])'
            )
        if added:
            names = ", ".join(f'"{name}"' for name in sorted(added))
            yield (
                f"unrestricted capabilities ({_titled(container)} must not include {names} in "
                "securityContext.capabilities.add)"
            )


def _users(spec: Object) -> Iterable[str]:
    by_pod = (spec.get("securityContext") or {}).get("runAsNonRoot")
    if by_pod is False:
        yield "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"
    for container in containers(spec):
        if _security(container).get("runAsNonRoot", by_pod) is not True:
            yield (
                f"runAsNonRoot != true (pod or {_titled(container)} must set "
                "securityContext.runAsNonRoot=true)"
            )
    for name, security in _securities(spec):
        if security.get("runAsUser") == 0:
            yield f"runAsUser=0 ({name} must not set runAsUser=0)"


def _seccomp(spec: Object) -> Iterable[str]:
    by_pod = ((spec.get("securityContext") or {}).get("seccompProfile") or {}).get("type")
    for container in containers(spec):
        own = (_security(container).get("seccompProfile") or {}).get("type", by_pod)
        if own not in SECCOMP:
            yield (
                f"seccompProfile (pod or {_titled(container)} must set "
                'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
            )
    if by_pod is not None and by_pod not in SECCOMP:
        yield f'seccompProfile (pod must not set securityContext.seccompProfile.type to "{by_pod}")'


def _labels_of_the_kernel(spec: Object) -> Iterable[str]:
    for name, security in _securities(spec):
        options = security.get("seLinuxOptions") or {}
        if options.get("type", "") not in SELINUX_TYPES:
            yield f'seLinuxOptions ({name} set forbidden type "{options["type"]}")'
        if options.get("user") or options.get("role"):
            yield f"seLinuxOptions ({name} set forbidden user or role)"
        profile = (security.get("appArmorProfile") or {}).get("type", "RuntimeDefault")
        if profile not in SECCOMP:
            yield f'forbidden AppArmor profile ({name} must not set type to "{profile}")'


def _proc_and_sysctls(spec: Object) -> Iterable[str]:
    for container in containers(spec):
        if _security(container).get("procMount", "Default") != "Default":
            yield f"procMount ({_titled(container)} must not set securityContext.procMount)"
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or []
    forbidden = [found["name"] for found in sysctls if found["name"] not in SYSCTLS]
    if forbidden:
        yield f"forbidden sysctls ({', '.join(forbidden)})"


def _probes(spec: Object) -> Iterable[str]:
    """A probe that names a host lets the kubelet, with its rights, call anything."""
    for container in containers(spec):
        hooks = container.get("lifecycle") or {}
        handlers = [
            container.get(f"{probe}Probe") for probe in ("liveness", "readiness", "startup")
        ]
        handlers += [hooks.get("postStart"), hooks.get("preStop")]
        for handler in handlers:
            for call in ("httpGet", "tcpSocket"):
                if ((handler or {}).get(call) or {}).get("host"):
                    yield f"probe or lifecycle host ({_titled(container)} uses host)"


def _securities(spec: Object) -> Iterable[tuple[str, Object]]:
    yield "pod", spec.get("securityContext") or {}
    for container in containers(spec):
        yield _titled(container), _security(container)


def _security(container: Object) -> Object:
    found: Object = container.get("securityContext") or {}
    return found


def _titled(container: Object) -> str:
    return f'container "{container.get("name", "")}"'
