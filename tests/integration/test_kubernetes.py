"""What a cluster is given: rendered by Debian's kubectl, held to schemas and to what a pod must not be."""

from __future__ import annotations

import copy
import re
import shutil
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metis_sentinel import options as of_the_sentinel
from pipeline.cli import cli
from tests.support import pod_policy
from tests.support.lab import REPOSITORY
from tests.support.manifests import FOLDER, Object, faults, kustomizations, name_of, rendered
from tests.support.pod_policy import Grants, pod_of

LAB = "overlays/titan-22"
SENTINEL = Grants(
    host_paths={"/": True, "/var/lib/metis-sentinel": False},
    capabilities=frozenset(("DAC_READ_SEARCH",)),
    root=True,
    host_network=True,
)
GRANTS: dict[tuple[str, str], Grants] = {
    ("base", "DaemonSet/metis-sentinel"): SENTINEL,
    (LAB, "DaemonSet/metis-sentinel"): SENTINEL,
    # It burns cards, and asks the cluster before.
    (LAB, "Deployment/metis"): Grants(
        privileged=frozenset(("metis",)), host_paths={"/dev": False, "/run/udev": True}, token=True
    ),
}
"""All that any workload is let have beyond the strictest."""
each_folder = pytest.mark.parametrize("folder", kustomizations())


def workloads(folder: str) -> Iterator[tuple[Object, pod_policy.Pod]]:
    for item in rendered(folder):
        if pod := pod_of(item):
            yield item, pod


def one(name: str, folder: str = LAB) -> Object:
    (found,) = (item for item in rendered(folder) if name_of(item) == name)
    return found


def container(workload: str, name: str, folder: str = LAB) -> Any:
    pod = pod_of(one(workload, folder))
    assert pod is not None
    (found,) = (each for each in pod["containers"] if each["name"] == name)
    return found


@each_folder
def test_all_of_it_is_as_the_schemas_say(folder: str) -> None:
    assert [f"{name_of(item)}: {fault}" for item in rendered(folder) for fault in faults(item)] == []


def test_a_lab_s_own_overlay_is_as_the_docs_have_it(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/kubernetes.md").read_text()
    (block,) = re.findall(r"    # (overlays/.*/kustomization\.yaml)\n((?:    .*\n)+)", page)
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    file = tmp_path / block[0]
    file.parent.mkdir()
    file.write_text(textwrap.dedent(block[1]))
    found = rendered("overlays/lab", tmp_path)
    assert sorted(item["kind"] for item in found) == sorted(item["kind"] for item in rendered(LAB))
    (settings,) = (item["data"] for item in found if item["kind"] == "ConfigMap")
    assert settings["PUBLIC_URL"] == "https://metis.lab"
    images = {each["image"] for item in found if (pod := pod_of(item)) for each in pod["containers"]}
    assert len([image for image in images if image.startswith("registry.lab/")]) == 2


@each_folder
def test_nothing_is_there_twice(folder: str) -> None:
    names = [(name_of(item), item["metadata"].get("namespace")) for item in rendered(folder)]
    assert len(names) == len(set(names)) > 0


@each_folder
def test_a_pod_has_no_more_power_than_it_is_granted(folder: str) -> None:
    found = [
        f"{name_of(item)}: {fault}"
        for item, pod in workloads(folder)
        for fault in pod_policy.faults(item["kind"], pod, GRANTS.get((folder, name_of(item)), Grants()))
    ]
    assert found == []


def test_what_is_granted_is_of_a_workload_that_there_is() -> None:
    there = {(folder, name_of(item)) for folder in kustomizations() for item, _ in workloads(folder)}
    assert GRANTS.keys() <= there


@pytest.mark.parametrize(
    ("name", "slip"),
    [
        ("Deployment/metis", lambda item: item["spec"].update(replica=1)),
        ("Service/metis", lambda item: item["spec"]["ports"][0].update(port="eighty")),
        ("ServiceMonitor/metis", lambda item: item["spec"]["endpoints"][0].update(intervall="30s")),
        ("ServiceMonitor/metis", lambda item: item["spec"]["endpoints"][0].update(interval="often")),
        ("Namespace/metis", lambda item: item.update(kind="Namespice")),
    ],
    ids="unknown-key wrong-type unknown-key-of-the-operator wrong-value-of-the-operator no-such-kind".split(),
)
def test_a_slip_would_be_told(name: str, slip: Callable[[Any], None]) -> None:
    item = copy.deepcopy(one(name))
    slip(item)
    assert list(faults(item)) != []


# ------------------------------------------------------------------------- what belongs together


def test_the_images_are_of_the_version_that_the_manifests_come_with() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    images = {each["image"] for _, pod in workloads(LAB) for each in pod["containers"]}
    ours = {image.rpartition("/")[2] for image in images if "/metis/" in image}
    assert ours == {f"metis:{version}", f"metis-sentinel:{version}"}


@pytest.mark.parametrize("workload", ["Deployment/metis", "CronJob/metis-nightly"])
def test_what_metis_is_started_with_are_options_of_the_command(workload: str) -> None:
    command, *words = container(workload, "metis")["args"]
    known = {name for option in cli.commands[command].params for name in option.opts}
    assert [word for word in words if word.partition("=")[0] not in known] == []


def test_the_sentinel_understands_what_it_is_started_with() -> None:
    sentinel = container("DaemonSet/metis-sentinel", "sentinel")
    asked = of_the_sentinel.parse(sentinel["args"], {})
    assert asked.root == "/host"
    assert str(asked.out) in sentinel["livenessProbe"]["exec"]["command"][-1]
    writable = {each["mountPath"] for each in sentinel["volumeMounts"] if not each.get("readOnly")}
    assert {str(asked.out.parent), str(asked.spool.parent)} == writable


def test_the_sentinel_comes_to_each_node_whatever_its_taints() -> None:
    pod = pod_of(one("DaemonSet/metis-sentinel"))
    assert pod is not None
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert "nodeSelector" not in pod


@pytest.mark.parametrize("workload", ["Deployment/metis", "CronJob/metis-nightly"])
def test_what_writes_the_lab_s_artifacts_is_on_the_flash_host(workload: str) -> None:
    pod = pod_of(one(workload))
    assert pod is not None
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "titan-22"}
    assert {"name": "lab", "persistentVolumeClaim": {"claimName": "lab"}} in pod["volumes"]


def test_the_service_believes_the_proxy_beside_it_and_nobody_else() -> None:
    words = container("Deployment/metis", "metis")["args"]
    assert [word for word in words if word.startswith("--trusted-proxy")] == ["--trusted-proxy=127.0.0.1"]
    assert "--upstream=http://127.0.0.1:8080/" in container("Deployment/metis", "oauth2-proxy")["args"]


def test_the_way_in_leads_to_the_proxy_and_the_service_itself_is_shut() -> None:
    (path,) = one("Ingress/metis")["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": "metis", "port": {"name": "proxy"}}
    policy = one("NetworkPolicy/metis")["spec"]
    assert policy["podSelector"] == {}
    http = {"port": 8080, "protocol": "TCP"}
    (let_in,) = (each["from"] for each in policy["ingress"] if http in each["ports"])
    assert let_in[0]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}


@each_folder
def test_each_variable_in_a_command_line_is_one_that_the_container_gets(folder: str) -> None:
    """Kubernetes would pass $(NAME) on as it is written."""
    settings = {
        item["metadata"]["name"]: item["data"] for item in rendered(folder) if item["kind"] == "ConfigMap"
    }
    for item, pod in workloads(folder):
        for each in pod["containers"]:
            known = {variable["name"] for variable in each.get("env", ())}
            for source in each.get("envFrom", ()):
                known |= settings.get(source.get("configMapRef", {}).get("name"), {}).keys()
            text = " ".join(each.get("args", ()))
            named = {part.partition(")")[0] for part in text.split("$(")[1:]}
            assert named <= known, name_of(item)


# -------------------------------------------------------------- what the policy would not let pass


def _strict() -> Any:
    """A pod that is granted nothing, and needs nothing."""
    pod = pod_of(one("CronJob/metis-nightly"))
    assert pod is not None
    return copy.deepcopy(pod)


def _mounted(pod: Any, volume: dict[str, Any], *, read_only: bool = False) -> None:
    pod["volumes"].append({"name": "more", **volume})
    pod["containers"][0]["volumeMounts"].append({"name": "more", "mountPath": "/x", "readOnly": read_only})


def _first(key: str, value: object) -> Callable[[Any], None]:
    return lambda pod: pod["containers"][0].update({key: value})


def _power(key: str, value: object) -> Callable[[Any], None]:
    return lambda pod: pod["containers"][0]["securityContext"].update({key: value})


SLIPS: dict[str, Callable[[Any], None]] = {
    "has a token": lambda pod: pod.pop("automountServiceAccountToken"),
    "in its host's network": lambda pod: pod.update(hostNetwork=True),
    "among its host's processes": lambda pod: pod.update(hostPID=True),
    "any system call": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "as root": lambda pod: pod["securityContext"].update(runAsUser=0),
    "as whomever the image says": lambda pod: pod["securityContext"].pop("runAsUser"),
    "privileged": _power("privileged", True),
    "more than it is": _power("allowPrivilegeEscalation", None),
    "its own root": _power("readOnlyRootFilesystem", False),
    "keeps capabilities": _power("capabilities", {"drop": ["NET_RAW"]}),
    "gets capabilities": _power("capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "latest": _first("image", "harbor.example/metis/metis:latest"),
    "no tag": _first("image", "harbor.example:5000/metis/metis"),
    "a tag that moves": _first("image", "harbor.example/metis/metis:0.1"),
    "no bounds": _first("resources", {"requests": {"cpu": "1", "memory": "1Gi"}}),
    "the host's folder": lambda pod: _mounted(pod, {"hostPath": {"path": "/etc"}}, read_only=True),
    "a network file system": lambda pod: _mounted(pod, {"nfs": {"server": "x", "path": "/"}}),
    "memory without an end": lambda pod: _mounted(pod, {"emptyDir": {}}),
    "before the others": lambda pod: pod.update(
        initContainers=[{**pod["containers"][0], "image": "harbor.example/metis/metis"}]
    ),
}


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS.keys())
def test_what_a_pod_must_not_be_is_told(slip: Callable[[Any], None]) -> None:
    pod = _strict()
    assert list(pod_policy.faults("CronJob", pod, Grants())) == []
    slip(pod)
    assert len(list(pod_policy.faults("CronJob", pod, Grants()))) == 1


def test_what_is_only_to_be_read_must_not_be_written() -> None:
    pod, grants = _strict(), Grants(host_paths={"/etc": True})
    _mounted(pod, {"hostPath": {"path": "/etc"}})
    assert list(pod_policy.faults("CronJob", pod, grants)) == ["it may write /etc of its host"]


def test_who_goes_on_is_looked_after() -> None:
    assert list(pod_policy.faults("Deployment", _strict(), Grants())) == ["metis: nobody sees when it hangs"]
