"""k3s on a node, read by those who read it there: systemd its units, a YAML parser its configuration."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InventoryError
from pipeline.inventory import k3s_flags
from pipeline.inventory.document import parse
from pipeline.inventory.validate import check
from pipeline.machine import process
from pipeline.model import Entry, File, RemoteFile, Remove, ResolvedNode, SecretRef, Symlink
from pipeline.render import k3s, k3s_state, node_object
from pipeline.render.k3s_lints import kubelet_may_set
from pipeline.render.yaml_text import yaml_text
from tests.support.rendering import CLUSTER, files, node_of, program

SERVER = "https://192.0.2.7:6443"
SHA256 = "ab" * 32
ROLES = ("agent", "server")
each_role = pytest.mark.parametrize("role", ROLES)


def a_node(role: str, more: str = "", cluster: str = CLUSTER) -> ResolvedNode:
    """A node of a role, with more of the part `k3s` in flow style."""
    return node_of(f"class: pi\nk3s: {{role: {role}, server: '{SERVER}'{more}}}\n", cluster=cluster)


def config_of(node: ResolvedNode) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(files(k3s.render(node))["/etc/rancher/k3s/config.yaml"])
    return found


def refused(text: str) -> str:
    with pytest.raises(InventoryError) as caught:
        node_of(text)
    return str(caught.value)


def paths(entries: tuple[Entry, ...], kind: type[Entry]) -> set[str]:
    return {entry.path for entry in entries if isinstance(entry, kind)}


# --------------------------------------------------------------------------------------------- units


def card(folder: Path, node: ResolvedNode) -> Path:
    """The units of a node and its guard under a root of their own, with what they lean on."""
    for name in ("basic", "multi-user", "network-online", "shutdown", "sysinit", "time-sync"):
        place(
            folder,
            f"/usr/lib/systemd/system/{name}.target",
            "[Unit]\nDescription=Every system has it\n",
            0o644,
        )
    for program_of_others in ("/usr/local/bin/k3s", "/sbin/modprobe"):
        place(folder, program_of_others, "", 0o755)
    for entry in k3s.render(node):
        if isinstance(entry, File):
            place(folder, entry.path, files((entry,))[entry.path], entry.mode)
        elif isinstance(entry, Symlink):
            link = folder / entry.path[1:]
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(entry.target)
    return folder / "etc/systemd/system"


def place(root: Path, path: str, text: str, mode: int) -> None:
    file = root / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def complaints(root: Path, unit: str) -> str:
    return process.run(
        [program("systemd-analyze", "systemd"), "verify", f"--root={root}", unit], check=False
    ).err.decode()


@each_role
def test_systemd_takes_the_unit_and_its_drop_ins(tmp_path: Path, role: str) -> None:
    node = a_node(role)
    card(tmp_path, node)
    unit = k3s.unit_of(node)
    assert unit is not None
    assert complaints(tmp_path, unit) == ""


@pytest.mark.parametrize("file", ["k3s.service", "k3s.service.d/10-metis-guard.conf"])
def test_systemd_would_say_what_is_wrong_with_either(tmp_path: Path, file: str) -> None:
    system = card(tmp_path, a_node("server"))
    with (system / file).open("a") as unit:
        unit.write("ExecStartPost=k3s-guard %Y\n")
    assert "k3s-guard" in complaints(tmp_path, "k3s.service")


@each_role
def test_systemd_starts_the_one_unit_of_the_role_at_boot(tmp_path: Path, role: str) -> None:
    card(tmp_path, a_node(role))
    for unit in ("k3s.service", "k3s-agent.service"):
        argv = [program("systemctl", "systemd"), f"--root={tmp_path}", "is-enabled", unit]
        enabled = process.run(argv, check=False).out == b"enabled\n"
        assert enabled == (unit == k3s.unit_of(a_node(role)))


@each_role
def test_a_unit_of_another_role_that_the_golden_brings_is_removed(role: str) -> None:
    entries = k3s.render(a_node(role))
    (other,) = {"k3s.service", "k3s-agent.service"} - {k3s.unit_of(a_node(role))}
    wants = f"/etc/systemd/system/multi-user.target.wants/{other}"
    assert {f"/etc/systemd/system/{other}", wants} <= paths(entries, Remove)


def test_a_node_that_is_to_run_no_k3s_gets_every_unit_removed_and_nothing_else() -> None:
    entries = k3s.render(node_of("class: pi\nk3s: {role: none}"))
    assert {type(entry) for entry in entries} == {Remove}
    wants = "/etc/systemd/system/multi-user.target.wants"
    assert {f"{wants}/k3s.service", f"{wants}/k3s-agent.service"} <= paths(entries, Remove)


def test_a_node_that_says_nothing_of_k3s_is_left_alone() -> None:
    node = node_of("class: pi")
    assert k3s.render(node) == ()
    assert k3s.unit_of(node) is None


@pytest.mark.parametrize("kind", ["etcd", "external"])
def test_k3s_does_not_start_where_the_guard_fails(kind: str) -> None:
    entries = k3s.render(a_node("server", cluster=f"k3s: {{datastore: {kind}}}"))
    (guard,) = (entry for entry in entries if entry.path == "/usr/local/lib/metis/k3s-guard")
    assert isinstance(guard, File)
    assert guard.mode == 0o755
    drop_in = files(entries)["/etc/systemd/system/k3s.service.d/10-metis-guard.conf"]
    assert f"\nExecStartPre=/usr/local/lib/metis/k3s-guard {kind}\n" in drop_in


def test_the_guard_is_a_clean_script() -> None:
    guard = files(k3s.render(a_node("server")))["/usr/local/lib/metis/k3s-guard"]
    said = process.run([program("shellcheck", "shellcheck"), "-"], stdin=guard.encode(), check=False)
    assert said.out.decode() == ""


# ------------------------------------------------------------------------------------- configuration


def test_a_server_has_the_clusters_flags_and_an_agent_has_not() -> None:
    assert config_of(a_node("server"))["cluster-cidr"] == "10.42.0.0/16"
    assert "cluster-cidr" not in config_of(a_node("agent"))


one_line = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20)
flag_values = one_line | st.booleans() | st.integers(-(2**40), 2**40) | st.lists(one_line, max_size=3)
own_flags = sorted(k3s_flags.SERVER - k3s_flags.CRITICAL - {"data-dir", "node-ip"})


@given(flags=st.dictionaries(st.sampled_from(own_flags), flag_values, max_size=4))
def test_whatever_is_declared_arrives_as_it_is_and_brings_nothing_along(flags: dict[str, Any]) -> None:
    # With PyYAML's own dumper 0E0 would be written as a number of YAML 1.2.
    document = yaml_text({"class": "pi", "k3s": {"role": "server", "server": SERVER, "flags": flags}}).text
    parsed = parse(document, "node.yaml")
    if check(parsed, "node"):
        return  # what the schema refuses, such as an address with a password in it, never gets here
    plain = config_of(a_node("server"))
    assert config_of(node_of(document)) == {**plain, **flags}


@pytest.mark.parametrize(
    "text",
    ["0640", "yes", "y", "N", "~", "1e3", "0o17", "12:34:56", "2001:db8::1", "- a", "a: b", "# c", "'", "%n"],
)
def test_text_that_yaml_would_take_for_something_else_stays_text(text: str) -> None:
    """Read as k3s does it, where y is true and 1e3 a number too (https://pkg.go.dev/gopkg.in/yaml.v2)."""
    node = a_node("server", f", flags: {{write-kubeconfig-mode: {json.dumps(text)}}}")
    assert config_of(node)["write-kubeconfig-mode"] == text
    config = files(k3s.render(node))["/etc/rancher/k3s/config.yaml"]
    assert not re.search(r"^write-kubeconfig-mode: ([yYnN]|[0-9]+e[0-9]+|0o17)$", config, re.MULTILINE)


@pytest.mark.parametrize(
    ("flags", "address"), [("", "192.0.2.13"), (", flags: {node-ip: 192.0.2.99}", "192.0.2.99")]
)
def test_the_static_address_is_the_nodes_in_the_cluster_unless_a_flag_names_another(
    flags: str, address: str
) -> None:
    network = "network: {interface: eth0, address: 192.0.2.13/24}"
    node = node_of(f"class: pi\n{network}\nk3s: {{role: agent, server: '{SERVER}'{flags}}}")
    assert config_of(node)["node-ip"] == address


def test_of_several_interfaces_the_main_one_has_the_address_and_no_peer_has_any_of_them() -> None:
    network = (
        "network: {interface: eth0, address: 192.0.2.13/24, interfaces: {eth1: {address: 198.51.100.13/24}}}"
    )
    node = node_of(f"class: pi\n{network}\nk3s: {{role: agent, server: '{SERVER}'}}")
    assert config_of(node)["node-ip"] == "192.0.2.13"
    itself = f"class: pi\n{network}\nk3s: {{role: agent, server: 'https://198.51.100.13:6443'}}"
    assert "expected another machine than the node itself" in refused(itself)


@pytest.mark.parametrize("network", ["{dhcp: true}", "{interfaces: {eth1: {dhcp: true}}}"])
def test_a_node_without_a_static_address_names_none(network: str) -> None:
    assert "node-ip" not in config_of(
        node_of(f"class: pi\nnetwork: {network}\nk3s: {{role: agent, server: '{SERVER}'}}")
    )


def test_limits_hold_unless_the_node_says_otherwise() -> None:
    usual = config_of(a_node("agent"))["kubelet-arg"]
    assert "image-gc-high-threshold=75" in usual
    assert "container-log-max-files=3" in usual
    other = config_of(a_node("agent", ", kubelet_args: {image-gc-high-threshold: 90, v: 2}"))["kubelet-arg"]
    assert set(other) == {*usual, "image-gc-high-threshold=90", "v=2"} - {"image-gc-high-threshold=75"}


@pytest.mark.parametrize(
    "args", ["image-gc-low-threshold: 80", "image-gc-high-threshold: 101", "image-gc-high-threshold: 80%"]
)
def test_images_are_collected_between_two_bounds(args: str) -> None:
    said = refused(f"class: pi\nk3s: {{role: agent, server: '{SERVER}', kubelet_args: {{{args}}}}}")
    assert "expected a percentage, low below high" in said


def test_labels_that_only_others_may_set_are_not_on_the_card() -> None:
    node = a_node("agent", ", labels: {a: b}, api_labels: {node-role.kubernetes.io/storage: 'true'}")
    assert config_of(node)["node-label"] == ["a=b"]


@pytest.mark.parametrize(
    "key",
    [
        "hardware",
        "example.org/rack",
        "node.longhorn.io/create-default-disk",
        "notkubernetes.io/a",
        "kubernetes.io/hostname",
        "beta.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/instance-type",
        "node.kubernetes.io/anything",
        "storage.node.kubernetes.io/a",
        "kubelet.kubernetes.io/a",
    ],
)
def test_a_kubelet_may_set_what_kubernetes_leaves_to_it(key: str) -> None:
    assert kubelet_may_set(key)


@pytest.mark.parametrize(
    "key",
    [
        "node-role.kubernetes.io/worker",
        "node-restriction.kubernetes.io/rack",
        "rack.node-restriction.kubernetes.io/a",
        "kubernetes.io/role",
        "k8s.io/a",
        "a.k8s.io/b",
        "topology.kubernetes.io/rack",
        "mynode.kubernetes.io/a",
    ],
)
def test_a_kubelet_may_not_set_the_rest_of_kubernetes_names(key: str) -> None:
    assert not kubelet_may_set(key)


# ------------------------------------------------------------------------------------- the cluster


@pytest.mark.parametrize(
    "host", ["titan-13", "TITAN-13", "titan-13.lab.example", "192.0.2.13", "localhost", "127.0.0.1", "[::1]"]
)
@each_role
def test_a_node_does_not_join_itself(role: str, host: str) -> None:
    network = "network: {interface: eth0, address: 192.0.2.13/24, search: [lab.example]}"
    text = f"class: pi\n{network}\nk3s: {{role: {role}, server: 'https://{host}:6443'}}"
    assert "k3s.server: expected another machine than the node itself" in refused(text)


@pytest.mark.parametrize("host", ["titan-1", "titan-130", "titan-13.other.example", "192.0.2.130", "[::2]"])
def test_a_node_joins_a_machine_that_is_only_called_like_it(host: str) -> None:
    network = "network: {interface: eth0, address: 192.0.2.13/24, search: [lab.example]}"
    node = node_of(f"class: pi\n{network}\nk3s: {{role: agent, server: 'https://{host}:6443'}}")
    assert config_of(node)["server"] == f"https://{host}:6443"


@pytest.mark.parametrize("key", sorted(k3s_flags.CRITICAL))
def test_what_all_servers_must_agree_on_stands_in_one_place(key: str) -> None:
    text = f"class: pi\nk3s: {{role: server, server: '{SERVER}', flags: {{{key}: a}}}}"
    assert f"k3s.flags.{key}: all servers must agree on it: set it in cluster.yaml" in refused(text)


def test_no_flag_is_both_known_and_refused() -> None:
    assert not k3s_flags.ELSEWHERE.keys() & (k3s_flags.AGENT | k3s_flags.SERVER)


@pytest.mark.parametrize(("role", "form"), [("agent", "k3s-token"), ("server", "k3s-server-token")])
def test_the_token_is_private_is_needed_and_is_of_the_role(role: str, form: str) -> None:
    (token,) = (entry for entry in k3s.render(a_node(role)) if entry.path == "/etc/rancher/k3s/join-token")
    assert token == File("/etc/rancher/k3s/join-token", (SecretRef("k3s_token", form),), mode=0o600)
    assert config_of(a_node(role))["token-file"] == "/etc/rancher/k3s/join-token"


def lone_server(more: str = "") -> ResolvedNode:
    restore = f"restore: {{database: 'https://backups.example/state.db', sha256: {SHA256}}}"
    return node_of(f"class: pi\nk3s: {{role: server, {restore}{more}}}", cluster="k3s: {datastore: sqlite}")


@pytest.mark.parametrize(
    ("flags", "folder"),
    [("", "/var/lib/rancher/k3s"), (", flags: {data-dir: /srv/k3s}", "/srv/k3s")],
)
def test_the_database_of_a_lone_server_is_fetched_and_comes_back_private(flags: str, folder: str) -> None:
    node = lone_server(flags)
    path = f"{folder}/server/db/state.db"
    assert k3s_state.fetched(node) == (RemoteFile(path, "https://backups.example/state.db", SHA256, 0o600),)
    entries = k3s.render(node)
    restored = {
        entry.path: entry.mode for entry in entries if isinstance(entry, File) and folder in entry.path
    }
    assert restored == {path: 0o600, f"{folder}/server/token": 0o600}
    assert {f"{path}-wal", f"{path}-shm", f"{folder}/server/tls"} <= paths(entries, Remove)


@each_role
def test_nothing_is_fetched_for_a_node_that_joins(role: str) -> None:
    assert k3s_state.fetched(a_node(role)) == ()


@each_role
def test_nothing_that_another_machine_was_in_a_cluster_comes_along(role: str) -> None:
    removed = paths(k3s.render(a_node(role)), Remove)
    state = {"server/db/etcd", "server/db/state.db", "server/cred", "server/tls", "agent/client-kubelet.key"}
    assert {f"/var/lib/rancher/k3s/{path}" for path in state} <= removed
    assert "/etc/rancher/k3s/config.yaml.d" in removed


def test_where_an_external_datastore_is_stays_secret_and_no_agent_learns_it() -> None:
    external = "k3s: {datastore: external}"
    node = node_of("class: pi\nk3s: {role: server}", cluster=external)
    assert config_of(node)["datastore-endpoint"] == "<extra.datastore_endpoint:datastore-endpoint>"
    assert "datastore-endpoint" not in config_of(a_node("agent", cluster=external))


# ----------------------------------------------------------------------------------- the Node object


@pytest.mark.parametrize("over", [0, 1])
def test_annotations_are_refused_where_kubernetes_would_refuse_their_size(over: int) -> None:
    """The limit is of all keys and values together, as UTF-8."""
    text = "ü" * ((node_object.LARGEST - len("a")) // 2) + "x" * (over + 1)
    node = f"class: pi\nk3s: {{role: none, annotations: {{a: '{text}'}}}}\n"
    if over:
        assert f"expected at most {node_object.LARGEST} bytes in all" in refused(node)
    else:
        assert node_object.api_annotations(node_of(node)) == {"a": text}
