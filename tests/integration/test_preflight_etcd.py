"""`metis preflight` with a server's certificates: etcd itself says which members it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import ApiServer, api_server
from tests.support.etcd import NAMES, Etcd, etcd
from tests.support.kube import node, root_ca
from tests.support.lab import Lab
from tests.support.preflight import NOTE, RIGHTS, TOKEN, keep

SEVEN, EIGHT, NINE = (name.rpartition("-")[0] for name in NAMES)


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Etcd]:
    with etcd(tmp_path / "etcd", members=3) as cluster:
        yield cluster


@pytest.fixture
def server(members: Etcd) -> Iterator[ApiServer]:
    """A cluster of three servers, of which titan-9 has no Node any more."""
    with api_server() as made:
        for name, member in ((SEVEN, NAMES[0]), (EIGHT, NAMES[1])):
            made.put(node(name, role="server", address=members.addresses[member], etcd_member=member))
        made.put(root_ca(made.authority.read_text()))
        made.grant(RIGHTS)
        yield made


@pytest.fixture
def lab(tmp_path: Path, members: Etcd, server: ApiServer) -> Lab:
    access = members.access
    environment = {
        "KUBECONFIG": str(server.kubeconfig(tmp_path)),
        "ETCDCTL_CACERT": str(access.ca),
        "ETCDCTL_CERT": str(access.cert),
        "ETCDCTL_KEY": str(access.key),
    }
    made = Lab(tmp_path, environment)
    made.write("classes/pc.yaml", "arch: arm64\nos: debian\n")
    role = f"role: server, server: 'https://{members.addresses[NAMES[0]]}:6443'"
    made.write(f"nodes/{NINE}.yaml", f"class: pc\nnetwork: {{dhcp: true}}\nk3s: {{{role}}}\n")
    keep(made, server, NINE, f"server:{TOKEN}")
    return made


def look(lab: Lab, **extra: str) -> dict[str, Any]:
    """What was found out about etcd, by the name of the check."""
    report = lab.metis("preflight", "--node", NINE, "--json", **extra)
    assert report.out, report
    return {each["check"]: each for each in json.loads(report.out)["checks"]}


def test_a_member_that_a_deleted_node_has_left_is_told_by_its_id_until_it_is_gone(
    lab: Lab, members: Etcd
) -> None:
    (old,) = (each["ID"] for each in members.etcdctl("member", "list")["members"] if each["name"] == NAMES[2])
    found = look(lab)
    assert found["etcd member"]["verdict"] == "refused"
    assert found["etcd member"]["advice"] == f"`etcdctl member remove {old:x}`"
    assert found["etcd member"]["mend"] is None
    assert found["quorum"]["found"] == "2 of 3 members are up without this node, 2 are needed"
    members.have_lead(NAMES[0])
    members.stop(NAMES[2])
    members.etcdctl("member", "remove", f"{old:x}")
    found = look(lab)
    assert found["etcd member"]["verdict"] == "ok"
    assert found["quorum"]["found"] == "2 of 2 members are up without this node, 2 are needed"


def test_a_member_that_its_node_speaks_of_can_be_taken_out_by_k3s(lab: Lab, server: ApiServer) -> None:
    server.put(node(NINE, role="server", ready="Unknown", address="198.51.100.9", etcd_member=NAMES[2]))
    found = look(lab)
    assert found["etcd member"]["verdict"] == "refused"
    assert f"mark the Node {NINE}" in found["etcd member"]["mend"]


def test_etcd_is_believed_where_the_node_says_that_all_is_done(lab: Lab, server: ApiServer) -> None:
    gone = node(NINE, role="server", ready="Unknown", address="198.51.100.9", etcd_member=NAMES[2])
    notes = gone["metadata"]["annotations"]
    notes[f"{NOTE}removed-node-name"] = notes.pop(f"{NOTE}node-name")
    server.put(gone)
    assert look(lab)["etcd member"]["verdict"] == "refused"
    without = look(lab, ETCDCTL_CACERT="", ETCDCTL_CERT="", ETCDCTL_KEY="")
    assert without["etcd member"]["verdict"] == "ok"


def test_an_etcd_without_quorum_is_told_and_nothing_can_be_mended(
    lab: Lab, server: ApiServer, members: Etcd
) -> None:
    server.put(node(NINE, role="server", ready="Unknown", address="198.51.100.9", etcd_member=NAMES[2]))
    members.stop(*NAMES[1:])
    found = look(lab)
    assert found["quorum"]["verdict"] == "refused"
    assert found["etcd member"]["verdict"] == "refused"
    assert not any(each["mend"] for each in found.values())


@pytest.mark.parametrize("variable", ["ETCDCTL_CACERT", "ETCDCTL_ENDPOINTS"])
def test_an_etcd_that_cannot_be_asked_is_unsure(lab: Lab, members: Etcd, variable: str) -> None:
    other = str(members.access.cert) if variable == "ETCDCTL_CACERT" else members.free_address()
    found = look(lab, **{variable: other})
    assert found["etcd member"]["verdict"] == "unsure"
    assert "etcd could not be asked: " in found["etcd member"]["found"]


def test_half_of_what_etcd_is_asked_with_is_an_error(lab: Lab) -> None:
    report = lab.metis("preflight", "--node", NINE, ETCDCTL_KEY="")
    assert (report.code, report.out) == (2, "")
    assert "ETCDCTL_KEY" in report.err
