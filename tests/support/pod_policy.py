"""What a pod of ours must not be, beyond what a schema knows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PINNED = re.compile(r"[a-z0-9./-]+(:[0-9]+/[a-z0-9./-]+)?(:v?\d+\.\d+\.\d+|@sha256:[0-9a-f]{64})")
"""By version or digest. A tag that says no version may be another image tomorrow."""
_SAFE_VOLUMES = frozenset(("configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"))
Pod = Mapping[str, Any]


@dataclass(frozen=True)
class Grants:
    """What one workload is let have that others are not."""

    privileged: frozenset[str] = frozenset()
    """Names of containers."""
    host_paths: Mapping[str, bool] | None = None
    """Whether each is only read."""
    capabilities: frozenset[str] = frozenset()
    root: bool = False
    host_network: bool = False
    token: bool = False


def pod_of(item: Mapping[str, Any]) -> Pod | None:
    """The pod that a workload makes; None for what makes none."""
    spec = item.get("spec", {})
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod: Pod | None = spec if item["kind"] == "Pod" else spec.get("template", {}).get("spec")
    return pod


def faults(kind: str, pod: Pod, grants: Grants) -> Iterator[str]:
    """What is wrong with the pod of a workload of this kind."""
    if pod.get("automountServiceAccountToken") is not grants.token:
        yield "whether it gets a token of its account is not as granted"
    if bool(pod.get("hostNetwork")) > grants.host_network:
        yield "it is in the network of its host"
    yield from (f"it shares its host's {name}" for name in ("hostPID", "hostIPC") if pod.get(name))
    yield from _volume_faults(pod, grants)
    for container in [*pod.get("initContainers", ()), *pod["containers"]]:
        for fault in _container_faults(kind, pod, container, grants):
            yield f"{container['name']}: {fault}"


def _volume_faults(pod: Pod, grants: Grants) -> Iterator[str]:
    mounts = [mount for container in pod["containers"] for mount in container.get("volumeMounts", ())]
    granted = grants.host_paths or {}
    for volume in pod.get("volumes", ()):
        (kind,) = volume.keys() - {"name"}
        if kind == "hostPath":
            path = volume[kind]["path"]
            places = [each for each in mounts if each["name"] == volume["name"]]
            if path not in granted:
                yield f"it has {path} of its host"
            elif granted[path] and not all(each.get("readOnly", False) for each in places):
                yield f"it may write {path} of its host"
            if path == "/" and any(each.get("mountPropagation") != "HostToContainer" for each in places):
                yield "it keeps what its host has unmounted"
        elif kind not in _SAFE_VOLUMES:
            yield f"it has a volume of the kind {kind}"
        elif kind == "emptyDir" and "sizeLimit" not in volume[kind]:
            yield f"nothing bounds {volume['name']}"


def _container_faults(kind: str, pod: Pod, container: Pod, grants: Grants) -> Iterator[str]:
    own = container.get("securityContext", {})
    context = {**pod.get("securityContext", {}), **own}
    if not _PINNED.fullmatch(container["image"]):
        yield f"{container['image']} is of no version"
    yield from _power_faults(container["name"], context, own, grants)
    if not own.get("readOnlyRootFilesystem"):
        yield "it may write its own root"
    wanted, most = (container.get("resources", {}).get(key, {}) for key in ("requests", "limits"))
    if not {"cpu", "memory"} <= wanted.keys() or "memory" not in most:
        yield "what it takes of its node is not bounded"
    if kind != "CronJob" and "livenessProbe" not in container:
        yield "nobody sees when it hangs"


def _power_faults(name: str, context: Pod, own: Pod, grants: Grants) -> Iterator[str]:
    if name in grants.privileged:
        if not own.get("privileged"):
            yield "it does not take what was granted: privileged"
    else:
        if own.get("privileged"):
            yield "it is privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield "it may become more than it is"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "it keeps capabilities"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield "it may make any system call"
    if more := set(own.get("capabilities", {}).get("add", ())) - grants.capabilities:
        yield f"it gets capabilities: {' '.join(sorted(more))}"
    if not context.get("runAsUser") and not grants.root:
        yield "it runs as root, or as whomever the image says"
