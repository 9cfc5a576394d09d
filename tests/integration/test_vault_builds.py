"""Images from Vault: a rotation rebuilds who uses the secret, and on a day without Vault sealed copies do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.machine.process import run
from pipeline.raw import disk
from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, Lab, Report, class_text
from tests.support.vault import Answer, Vault, vault_server

ALPHA, BETA, GAMMA = "image:alpha", "image:beta", "image:gamma"


def token(text: str) -> str:
    return f"K10{'ab' * 32}::node:{text}"


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    with vault_server() as vault:
        vault.put("atlas/cluster", {"k3s_token": token("shared")})
        vault.put("atlas/nodes/alpha", {"k3s_token": token("alpha"), "ssh_password": "hunter2"})
        vault.put("atlas/nodes/delta", {"k3s_token": token("delta")})
        yield vault


def make_lab(root: Path, golden: Path, vault: Vault) -> Lab:
    """alpha has a token of its own, beta that of the cluster, gamma needs none; delta is never asked for."""
    environment = {
        "METIS_INJECTOR": QUICK_INJECTOR,
        "METIS_CACHE": str(root / "cache"),
        "METIS_SECRETS": "vault",
        "XDG_STATE_HOME": str(root / "state"),
        "XDG_CONFIG_HOME": str(root / "config"),
        **vault.environment(),
    }
    lab = Lab(root, environment)
    lab.write("classes/plain.yaml", class_text(golden, goldens.sha256(golden)))
    for node in ("alpha", "beta", "gamma", "delta"):
        k3s = "" if node == "gamma" else "k3s: {role: agent, server: 'https://192.0.2.10:6443'}\n"
        lab.write(f"nodes/{node}.yaml", f"class: plain\nnetwork: {{dhcp: true}}\nssh: {{user: atlas}}\n{k3s}")
    return lab


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path, vault: Vault) -> Lab:
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden, vault)
    report = lab.doit(ALPHA, BETA, GAMMA)
    assert report.code == 0, report
    return lab


@pytest.fixture
def lab(built: Lab, vault: Vault) -> Iterator[Lab]:
    """The lab with its images built; each test leaves it so."""
    vault.behave()
    yield built
    if not vault.is_running:
        vault.start()
    vault.behave()
    assert built.doit(ALPHA, BETA, GAMMA).code == 0


def rebuilt(lab: Lab) -> set[str]:
    report = lab.doit(ALPHA, BETA, GAMMA)
    assert report.code == 0, report
    return report.tasks("run", "image:")


def in_image(lab: Lab, node: str, path: str) -> bytes:
    image = lab.artifacts / f"{node}.img"
    root = max(disk.read(image).partitions, key=lambda part: part.size)
    return run(["debugfs", "-R", f"cat {path}", f"{image}?offset={root.start}"]).out


def join_token(lab: Lab, node: str) -> str:
    return in_image(lab, node, "/etc/rancher/k3s/join-token").decode().strip()


def contents(lab: Lab) -> dict[str, str]:
    """All images and receipts by their hashes."""
    files = [*lab.artifacts.glob("*.img"), *lab.artifacts.glob("*.json"), *lab.artifacts.glob("*.bmap")]
    assert files
    return {file.name: goldens.sha256(file) for file in files}


def remove_images(lab: Lab) -> None:
    for node in ("alpha", "beta", "gamma"):
        (lab.artifacts / f"{node}.img").unlink()


# ----------------------------------------------------------------------------------------- as it is


def test_an_image_has_what_vault_says_and_vault_has_what_was_made(lab: Lab, vault: Vault) -> None:
    assert join_token(lab, "alpha") == token("alpha")
    assert join_token(lab, "beta") == token("shared")
    for node in ("alpha", "beta", "gamma"):
        document = vault.get(f"atlas/nodes/{node}")
        assert document is not None
        assert in_image(lab, node, "/etc/machine-id").decode().strip() == document["extra"]["machine_id"]
    assert vault.get("atlas/nodes/alpha") is not None
    assert vault.version("atlas/nodes/delta") == 1


def test_a_run_that_finds_nothing_to_do_reads_no_value(lab: Lab, vault: Vault) -> None:
    assert not rebuilt(lab)
    assert vault.asked("/data/") == []
    paths = {
        f"GET kv/metadata/atlas/{path}" for path in ("cluster", "nodes/alpha", "nodes/beta", "nodes/gamma")
    }
    asked = vault.asked("kv/")
    assert set(asked) == paths
    assert len(asked) == len(paths)


def test_only_the_paths_of_nodes_that_were_asked_for_are_read(lab: Lab, vault: Vault) -> None:
    vault.change("atlas/nodes/alpha", {"k3s_token": token("other")})
    assert lab.doit(ALPHA).code == 0
    owners = {line.partition("atlas/")[2] for line in vault.asked("kv/")}
    assert owners == {"cluster", "nodes/alpha"}


def test_a_batch_logs_in_once(lab: Lab, vault: Vault) -> None:
    vault.change("atlas/nodes/alpha", {"k3s_token": token("alpha-again")})
    vault.change("atlas/cluster", {"k3s_token": token("shared-again")})
    report = lab.doit("-n", "3", ALPHA, BETA, GAMMA, VAULT_TOKEN="", **vault.approle())
    assert report.code == 0, report
    assert report.tasks("run", "image:") == {ALPHA, BETA}
    assert vault.asked("auth/") == ["POST auth/approle/login"]


@pytest.mark.parametrize("words", [["list"], ["list", "--all", "--deps"]])
def test_to_list_the_graph_asks_nobody(lab: Lab, vault: Vault, words: list[str]) -> None:
    assert lab.doit(*words).code == 0
    assert vault.log == []


# ----------------------------------------------------------------------------------------- rotation


def test_a_rotated_token_of_a_node_rebuilds_that_node_alone(lab: Lab, vault: Vault) -> None:
    vault.change("atlas/nodes/alpha", {"k3s_token": token("new")})
    assert rebuilt(lab) == {ALPHA}
    assert join_token(lab, "alpha") == token("new")
    assert not rebuilt(lab)


def test_a_rotated_token_of_the_cluster_rebuilds_who_uses_it(lab: Lab, vault: Vault) -> None:
    vault.change("atlas/cluster", {"k3s_token": token("shared-new")})
    assert rebuilt(lab) == {BETA}
    assert join_token(lab, "beta") == token("shared-new")
    assert not rebuilt(lab)


def test_a_document_that_was_made_anew_is_not_taken_for_what_it_was(lab: Lab, vault: Vault) -> None:
    vault.wipe("atlas/cluster")
    vault.put("atlas/cluster", {"k3s_token": token("one")})
    assert rebuilt(lab) == {BETA}
    vault.wipe("atlas/cluster")
    vault.put("atlas/cluster", {"k3s_token": token("two")})
    assert vault.version("atlas/cluster") == 1, "as it was"
    assert rebuilt(lab) == {BETA}
    assert join_token(lab, "beta") == token("two")
    assert not rebuilt(lab)
    assert not lab.doit(ALPHA, BETA, GAMMA, METIS_OFFLINE="1").tasks("run", "image:")


def test_a_node_whose_document_was_wiped_out_gets_no_other_identity(lab: Lab, vault: Vault) -> None:
    before = in_image(lab, "gamma", "/etc/machine-id")
    vault.wipe("atlas/nodes/gamma")
    (lab.artifacts / "gamma.receipt.json").unlink()  # the copy still knows
    for words in (["image"], ["plan"], ["secrets", "status"]):
        report = lab.metis(*words, "--node", "gamma")
        assert report.code == 3, report
        assert "gamma had an identity, and there is none in kv/atlas/nodes/gamma in Vault: " in report.err
    assert vault.version("atlas/nodes/gamma") == 0
    (copies,) = (lab.root / "state/metis/copies").iterdir()
    assert lab.metis("secrets", "copy", "--from", f"sealed:{copies}", "--node", "gamma").code == 0
    assert lab.doit(GAMMA).code == 0
    assert in_image(lab, "gamma", "/etc/machine-id") == before


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("atlas/cluster", {"extra": {"nobody_asks": "for this"}}),
        ("atlas/cluster", {"rack": 7}),
        ("atlas/nodes/gamma", {"k3s_token": token("unused")}),
        ("atlas/nodes/alpha", {}),
    ],
)
def test_what_no_image_uses_rebuilds_nobody(
    lab: Lab, vault: Vault, path: str, change: dict[str, object]
) -> None:
    vault.change(path, change)
    assert not rebuilt(lab)
    assert vault.asked("/data/"), "only the values tell"
    vault.behave()
    assert not rebuilt(lab)
    assert vault.asked("/data/") == [], "they were looked at"


# ------------------------------------------------------------------------------------ without Vault


def failed(report: Report, *nodes: str) -> None:
    """Each of the nodes has failed in one line, and doit said so."""
    assert report.code != 0
    assert "Traceback" not in report.out + report.err
    assert {line.split(":")[1] for line in report.failures} == set(nodes)


def test_without_vault_sealed_copies_build_and_say_how_old_they_are(lab: Lab, vault: Vault) -> None:
    identity = in_image(lab, "alpha", "/etc/machine-id")
    remove_images(lab)
    vault.stop()
    report = lab.metis("image", "--node", "alpha", "--node", "beta", "--node", "gamma", METIS_OFFLINE="1")
    assert report.code == 0, report
    for who in ("alpha", "beta", "gamma", "all nodes"):
        assert re.search(
            rf"{who}: METIS_OFFLINE: (no )?secrets from the sealed copy of \d{{4}}-\d\d-\d\d .*old",
            report.err,
        ), who
    assert in_image(lab, "alpha", "/etc/machine-id") == identity
    vault.start()
    assert not rebuilt(lab), "the copies have the versions of Vault, so that the images are current"


def test_without_vault_and_without_offline_the_way_out_is_told(lab: Lab, vault: Vault) -> None:
    (lab.artifacts / "alpha.img").unlink()
    before = contents(lab)
    vault.stop()
    report = lab.metis("image", "--node", "alpha")
    assert report.code == 5, report
    assert f"Vault at {vault.address} cannot be reached" in report.err
    assert "METIS_OFFLINE=1 builds from the sealed copy of " in report.err
    assert "Traceback" not in report.out + report.err
    assert contents(lab) == before


def test_without_vault_and_without_copies_nothing_is_built(lab: Lab, vault: Vault, tmp_path: Path) -> None:
    (lab.artifacts / "alpha.img").unlink()
    before = contents(lab)
    vault.stop()
    nowhere = str(tmp_path / "state")
    report = lab.metis("image", "--node", "alpha", XDG_STATE_HOME=nowhere)
    assert report.code == 5, report
    assert "see that it runs, and check VAULT_ADDR" in report.err
    assert "OFFLINE" not in report.err
    report = lab.metis("image", "--node", "alpha", XDG_STATE_HOME=nowhere, METIS_OFFLINE="1")
    assert report.code == 5, report
    assert "there is no sealed copy" in report.err
    assert contents(lab) == before


def sealed(vault: Vault) -> None:
    vault.sealed = True


def denied(vault: Vault) -> None:
    vault.denied = {"kv/data/atlas/nodes/alpha"}


def all_denied(vault: Vault) -> None:
    vault.denied = {"kv/"}


def deleted(vault: Vault) -> None:
    vault.delete("atlas/nodes/alpha")


def faulty(vault: Vault) -> None:
    vault.answer("kv/data/", Answer(500, {"errors": [token("in-trouble")]}))


@pytest.mark.parametrize("trouble", [sealed, denied, all_denied, deleted, faulty])
def test_a_vault_in_trouble_changes_no_artifact(
    lab: Lab, vault: Vault, trouble: Callable[[Vault], None]
) -> None:
    number = vault.change("atlas/nodes/alpha", {"k3s_token": token(f"in-trouble-{trouble.__name__}")})
    before = contents(lab)
    trouble(vault)
    report = lab.metis("image", "--node", "alpha")
    assert report.code == 5, report
    assert "alpha" in report.err
    assert "Traceback" not in report.out + report.err
    assert "in-trouble" not in report.out + report.err
    assert contents(lab) == before
    vault.undelete("atlas/nodes/alpha", number)


@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"VAULT_TOKEN": ""}, 2, "Vault is to be asked without a token: set VAULT_TOKEN"),
        ({"VAULT_TOKEN": "", "VAULT_ROLE_ID": "a"}, 2, "VAULT_ROLE_ID is set without VAULT_SECRET_ID"),
        ({"VAULT_CACERT": "nowhere.pem"}, 2, "nowhere.pem is no file of certificates"),
        ({"VAULT_ADDR": "https://ops:hunter2@vault.example"}, 2, "VAULT_ADDR has more than an address"),
        ({"VAULT_ADDR": "http://vault.example"}, 3, "the token would cross the network in the clear"),
        ({"VAULT_ADDR": ""}, 2, "VAULT_ADDR is not set"),
    ],
)
def test_settings_that_cannot_be_meant_are_told_and_change_nothing(
    lab: Lab, tmp_path: Path, variables: dict[str, str], code: int, said: str
) -> None:
    (lab.artifacts / "alpha.img").unlink()
    before = contents(lab)
    report = lab.metis("image", "--node", "alpha", HOME=str(tmp_path), **variables)
    assert report.code == code, report
    assert said in report.err
    assert "hunter2" not in report.out + report.err
    assert "Traceback" not in report.out + report.err
    assert contents(lab) == before


def test_plan_without_vault_says_what_it_could_not_check(lab: Lab, vault: Vault) -> None:
    vault.stop()
    report = lab.metis("plan", "--node", "alpha")
    assert "not checked" in report.out
    assert "cannot be reached" in report.out
    assert "Traceback" not in report.out + report.err


def test_one_node_that_is_denied_fails_alone(lab: Lab, vault: Vault) -> None:
    vault.change("atlas/nodes/alpha", {"k3s_token": token("a")})
    vault.change("atlas/cluster", {"k3s_token": token("b")})
    vault.denied = {"kv/data/atlas/nodes/alpha"}
    report = lab.doit(ALPHA, BETA, GAMMA)
    failed(report, "alpha")
    assert report.tasks("run", "image:") == {ALPHA, BETA}
    assert "denies reading kv/atlas/nodes/alpha" in report.failures[0]
