"""What a cluster is given: rendered by Debian's kubectl, held to schemas and to what a pod must not be."""

from __future__ import annotations

import base64
import copy
import shutil
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from metis_sentinel import options as of_the_sentinel
from pipeline.cli import cli
from pipeline.machine import process
from tests.support import pod_policy
from tests.support.documented import Written, steps
from tests.support.lab import REPOSITORY
from tests.support.manifests import FOLDER, Object, faults, kubectl, kustomizations, name_of, rendered
from tests.support.pod_policy import Grants, pod_of

PAGE = REPOSITORY / "docs/kubernetes.md"
LAB, MONITORING = "overlays/titan-22", "monitoring"
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


def secrets_of(pod: pod_policy.Pod) -> Iterator[str]:
    """The Secrets that a pod does not start without."""
    sources = [each for container in pod["containers"] for each in container.get("envFrom", ())]
    needed = (each["secretRef"] for each in sources if "secretRef" in each)
    yield from (each["name"] for each in needed if not each.get("optional"))
    yield from (each["secret"]["secretName"] for each in pod["volumes"] if "secret" in each)


def container(workload: str, name: str, folder: str = LAB) -> Any:
    pod = pod_of(one(workload, folder))
    assert pod is not None
    (found,) = (each for each in pod["containers"] if each["name"] == name)
    return found


def settings(items: Iterable[Object]) -> Any:
    """What a lab says of itself."""
    (found,) = (item["data"] for item in items if item["kind"] == "ConfigMap")
    return found


@each_folder
def test_all_of_it_is_as_the_schemas_say(folder: str) -> None:
    assert [f"{name_of(item)}: {fault}" for item in rendered(folder) for fault in faults(item)] == []


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
    ("folder", "name", "slip"),
    [
        (LAB, "Deployment/metis", lambda item: item["spec"].update(replica=1)),
        (LAB, "Service/metis", lambda item: item["spec"]["ports"][0].update(port="eighty")),
        (
            MONITORING,
            "ServiceMonitor/metis",
            lambda item: item["spec"]["endpoints"][0].update(intervall="1m"),
        ),
        (
            MONITORING,
            "ServiceMonitor/metis",
            lambda item: item["spec"]["endpoints"][0].update(interval="often"),
        ),
        (MONITORING, "PrometheusRule/metis", lambda item: item["spec"]["groups"][0]["rules"][0].pop("expr")),
        (LAB, "Namespace/metis", lambda item: item.update(kind="Namespice")),
    ],
    ids="unknown-key wrong-type operator-unknown-key operator-value operator-no-key no-such-kind".split(),
)
def test_a_slip_would_be_told(folder: str, name: str, slip: Callable[[Any], None]) -> None:
    item = copy.deepcopy(one(name, folder))
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


def test_the_proxy_believes_the_network_of_pods_and_nobody_else() -> None:
    """With the first flag alone it believes everybody, and X-Forwarded-Uri gets past signing in."""
    words = container("Deployment/metis", "oauth2-proxy")["args"]
    assert {"--reverse-proxy", "--trusted-proxy-ip=$(INGRESS_NETWORK)"} <= set(words)
    flags = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())["k3s"]["flags"]
    assert settings(rendered(LAB))["INGRESS_NETWORK"] == flags["cluster-cidr"]


@pytest.mark.parametrize("folder", [each for each in kustomizations() if each != MONITORING])
def test_only_what_is_for_the_operator_needs_the_operator(folder: str) -> None:
    """kubectl applies nothing where it knows one of the kinds not."""
    assert [name_of(item) for item in rendered(folder) if "coreos.com" in item["apiVersion"]] == []


def test_the_operator_is_given_the_alerts_that_others_have() -> None:
    """`make rules` makes them anew."""
    alerts = yaml.safe_load((REPOSITORY / "deploy/monitoring/metis.rules.yaml").read_text())
    assert one("PrometheusRule/metis", MONITORING)["spec"] == alerts


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
    given = {
        item["metadata"]["name"]: item["data"] for item in rendered(folder) if item["kind"] == "ConfigMap"
    }
    for item, pod in workloads(folder):
        for each in pod["containers"]:
            known = {variable["name"] for variable in each.get("env", ())}
            for source in each.get("envFrom", ()):
                known |= given.get(source.get("configMapRef", {}).get("name"), {}).keys()
            text = " ".join(each.get("args", ()))
            named = {part.partition(")")[0] for part in text.split("$(")[1:]}
            assert named <= known, name_of(item)


# ----------------------------------------------------------------------------- what the page says


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Object, ...]:
    """What the overlay of the page comes to."""
    folder = tmp_path_factory.mktemp("kubernetes")
    shutil.copytree(FOLDER, folder / FOLDER.relative_to(REPOSITORY))
    for step in steps(PAGE.read_text("utf-8")):
        if isinstance(step, Written):
            file = folder / step.path
            file.parent.mkdir(exist_ok=True)
            file.write_text(step.text)
    return rendered("overlays/lab", folder / FOLDER.relative_to(REPOSITORY))


def test_a_lab_s_own_overlay_has_all_that_the_others_have(documented: tuple[Object, ...]) -> None:
    others = [*rendered(LAB), *rendered(MONITORING)]
    assert sorted(item["kind"] for item in documented) == sorted(item["kind"] for item in others)
    assert [fault for item in documented for fault in faults(item)] == []


def test_a_lab_s_own_overlay_leaves_no_name_of_another_lab(documented: tuple[Object, ...]) -> None:
    others = ("titan-22", "metis.example", "harbor.example", "sso.example")
    assert [word for word in others if word in yaml.safe_dump_all(documented)] == []


def test_a_lab_s_own_overlay_gives_its_groups_its_proxy_and_its_operator(
    documented: tuple[Object, ...],
) -> None:
    found = {name_of(item): item for item in documented}
    pod = pod_of(found["Deployment/metis"])
    assert pod is not None
    assert pod["securityContext"]["supplementalGroups"] == [994, 105]
    assert settings(documented)["INGRESS_NETWORK"] == "10.52.0.0/16"
    for name in ("ServiceMonitor/metis", "PrometheusRule/metis"):
        assert found[name]["metadata"]["labels"] == {"release": "kube-prometheus-stack"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory, certificate: Path) -> Mapping[str, Mapping[str, str]]:
    """What the commands of the page make, by kubectl that asks no cluster."""
    (script,) = (block for block in PAGE.read_text("utf-8").split("\n\n") if "create secret" in block)
    folder = tmp_path_factory.mktemp("secrets")
    for name in ("metis.crt", "metis.key"):
        (folder / name).write_bytes(certificate.read_bytes())
    asks_nobody = f'kubectl() {{ {kubectl()} "$@" --dry-run=client --output=yaml; echo ---; }}\n'
    made = process.run(["sh", "-euc", asks_nobody + textwrap.dedent(script)], cwd=folder)
    found = [item for item in yaml.safe_load_all(made.out) if item]
    assert {item["metadata"]["namespace"] for item in found} == {"metis"}
    return {item["metadata"]["name"]: item["data"] for item in found}


def test_each_secret_that_a_pod_waits_for_is_made_by_a_command_of_the_page(
    secrets: Mapping[str, Mapping[str, str]],
) -> None:
    needed = {name for item, pod in workloads(LAB) for name in secrets_of(pod)}
    needed |= {each["secretName"] for each in one("Ingress/metis")["spec"]["tls"]}
    assert needed <= secrets.keys()


def test_the_secrets_have_the_keys_that_are_asked_for(secrets: Mapping[str, Mapping[str, str]]) -> None:
    assert {"METIS_SENTINEL_TOKEN", "METIS_METRICS_TOKEN"} <= secrets["metis-tokens"].keys()
    assert {len(base64.b64decode(token)) for token in secrets["metis-tokens"].values()} == {64}
    cookie = secrets["metis-oauth2-proxy"]["OAUTH2_PROXY_COOKIE_SECRET"]
    assert len(base64.b64decode(cookie)) in {16, 24, 32}  # what AES takes


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


@pytest.mark.parametrize(
    ("path", "read_only", "fault"),
    [
        ("/etc", False, "it may write /etc of its host"),
        ("/", True, "it keeps what its host has unmounted"),
    ],
)
def test_a_folder_of_the_host_is_mounted_as_is_granted(path: str, *, read_only: bool, fault: str) -> None:
    pod, grants = _strict(), Grants(host_paths={path: True})
    _mounted(pod, {"hostPath": {"path": path}}, read_only=read_only)
    assert list(pod_policy.faults("CronJob", pod, grants)) == [fault]


def test_who_goes_on_is_looked_after() -> None:
    assert list(pod_policy.faults("Deployment", _strict(), Grants())) == ["metis: nobody sees when it hangs"]
