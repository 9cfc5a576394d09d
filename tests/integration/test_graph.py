"""What is rebuilt, and what is not: read from doit's own report.

The images are tiny and go through the loop injector where we are root, so that many builds fit into a minute;
what the graph decides does not depend on the injector.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from pipeline.cache.store import stamp
from pipeline.errors import RottenError
from pipeline.golden.fetch import Fetched
from pipeline.graph.doit_setup import doit_config
from pipeline.graph.tasks import Tasks
from pipeline.lab.lab import Lab as TheLab
from pipeline.machine import durable, process
from pipeline.settings import Settings
from tests.support import goldens, keys
from tests.support.lab import BIN, QUICK_INJECTOR, REPOSITORY, Lab, Report, class_text
from tests.support.small_disk import small_disk

TOKEN = f"K10{'ab' * 32}::node:hunter2token"
NODES = {"alpha", "beta", "gamma"}
STREAMS_IN_ACTIONS = """
import sys
from doit.loader import load_tasks
from doit.task import Stream
from pipeline import dodo
for task in load_tasks(vars(dodo)):
    for action in task.actions:
        own = (sys.stdout, sys.stderr)
        action.args, action.py_callable = [], lambda: print(task.name, (sys.stdout, sys.stderr) == own)
    task.execute(Stream(dodo.DOIT_CONFIG["verbosity"]))
"""


def make_lab(root: Path, golden: Path) -> Lab:
    """Two classes and three nodes: alpha and beta are plain, gamma is other.

    Of their identities there is what takes long to make.
    """
    lab = Lab(root, {"METIS_INJECTOR": QUICK_INJECTOR, "METIS_CACHE": str(root / "cache")})
    sha256 = goldens.sha256(golden)
    for name in ("plain", "other"):
        lab.write(f"classes/{name}.yaml", class_text(golden, sha256, f"root_overlay: overlays/{name}/root\n"))
        lab.write(f"overlays/{name}/root/etc/issue", f"{name}\n")
    for number, (name, klass) in enumerate({"alpha": "plain", "beta": "plain", "gamma": "other"}.items(), 1):
        lab.write(f"nodes/{name}.yaml", node_text(klass, number))
        lab.write_secrets(name, yaml.safe_dump({"extra": {"ssh_host_rsa_key": keys.rsa(name)}}))
    return lab


def node_text(klass: str, number: int) -> str:
    return (
        f"class: {klass}\n"
        f"network:\n  interface: eth0\n  address: 192.0.2.{number}/24\n  gateway: 192.0.2.254\n"
    )


def images(names: set[str]) -> set[str]:
    return {f"image:{name}" for name in names}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    """A lab whose images are all built; each test leaves it so."""
    lab = make_lab(tmp_path_factory.mktemp("lab"), tiny_golden)
    report = lab.doit("image")
    assert report.code == 0, report
    assert report.tasks("run", "image:") == images(NODES)
    return lab


@pytest.fixture
def fresh(tmp_path: Path, tiny_golden: Path) -> Lab:
    """A lab in which nothing is built yet."""
    return make_lab(tmp_path, tiny_golden)


def outdated(lab: Lab) -> set[str]:
    """The images that `metis status` calls other than fresh; it gives a reason for each that is stale."""
    said = lab.metis("status", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert all(bool(each["why"]) == (each["state"] == "stale") for each in found)
    return images({each["node"] for each in found if each["state"] != "fresh"})


def build(lab: Lab) -> Report:
    """Bring all images up to date; those that are built must be those of which `metis status` said so."""
    expected = outdated(lab)
    report = lab.doit("image")
    assert report.tasks("run", "image:") == expected
    return report


def rebuilt(lab: Lab) -> set[str]:
    """The images that a run rebuilds; a second run must then rebuild nothing."""
    report = build(lab)
    assert report.code == 0, report
    assert not lab.doit("image").tasks("run", "image:")
    return report.tasks("run", "image:")


def test_a_second_run_does_nothing_at_all(lab: Lab) -> None:
    assert not lab.doit("image").tasks("run")


def edit(path: str, change: Callable[[str], str]) -> Callable[[Lab], object]:
    def apply(lab: Lab) -> object:
        file = lab.inventory / path
        return file.write_text(change(file.read_text()))

    return apply


def touch(path: str) -> Callable[[Lab], object]:
    return lambda lab: os.utime(lab.inventory / path)


WITHOUT_EFFECT: dict[str, Callable[[Lab], object]] = {
    "a comment in a node": edit("nodes/alpha.yaml", lambda text: f"# why\n{text}"),
    "a comment in a class": edit("classes/plain.yaml", lambda text: f"{text}# why\n"),
    "white space": edit("nodes/alpha.yaml", lambda text: text.replace(": ", ":   ")),
    "the order of keys": edit("nodes/beta.yaml", lambda text: "".join(reversed_keys(text))),
    "a node saved again": edit("nodes/alpha.yaml", lambda text: text),
    "the time of a node": touch("nodes/alpha.yaml"),
    "the time of a class": touch("classes/plain.yaml"),
    "the time of an overlay's file": touch("overlays/plain/root/etc/issue"),
    "an overlay's file saved again": edit("overlays/plain/root/etc/issue", lambda text: text),
    "a cluster file without values": lambda lab: lab.write("cluster.yaml", "flash_host: alpha\n"),
    "a class that no node has": lambda lab: lab.write("classes/more.yaml", "abstract: true\n"),
}


def reversed_keys(text: str) -> list[str]:
    klass, rest = text.split("\n", 1)
    return [rest, klass, "\n"]


@pytest.mark.parametrize("change", WITHOUT_EFFECT.values(), ids=WITHOUT_EFFECT.keys())
def test_what_does_not_change_the_result_rebuilds_nothing(lab: Lab, change: Callable[[Lab], object]) -> None:
    change(lab)
    report = build(lab)
    assert report.code == 0, report
    assert not report.tasks("run", "image:")
    assert not report.tasks("run", "base:")


def test_an_edited_node_is_rebuilt_alone(lab: Lab) -> None:
    edit("nodes/alpha.yaml", lambda text: text.replace("192.0.2.1/", "192.0.2.11/"))(lab)
    report = build(lab)
    assert report.tasks("run", "image:") == images({"alpha"})
    assert not report.tasks("run", "base:")


@pytest.mark.parametrize(
    "change",
    [
        edit("overlays/other/root/etc/issue", lambda text: f"{text}more\n"),
        lambda lab: lab.write("overlays/other/root/etc/new", "new\n"),
        lambda lab: (lab.inventory / "overlays/other/root/etc/new").chmod(0o755),
        lambda lab: lab.write("overlays/other/modes.yaml", '/etc/new: "0600"\n'),
        lambda lab: (lab.inventory / "overlays/other/root/etc/link").symlink_to("issue"),
        lambda lab: (lab.inventory / "overlays/other/root/etc/link").unlink(),
        edit("classes/other.yaml", lambda text: text.replace("4M", "8M")),
    ],
    ids=["content", "a new file", "an x bit", "a mode", "a new link", "a removed link", "headroom"],
)
def test_a_changed_class_rebuilds_its_base_and_its_nodes_alone(
    lab: Lab, change: Callable[[Lab], object]
) -> None:
    change(lab)
    report = build(lab)
    assert report.code == 0, report
    assert report.tasks("run", "base:") == {"base:other"}
    assert report.tasks("run", "image:") == images({"gamma"})


def test_a_default_of_the_class_rebuilds_its_nodes_but_not_its_base(lab: Lab) -> None:
    edit("classes/plain.yaml", lambda text: f"{text}cloud_init: seed\n")(lab)
    report = build(lab)
    assert report.tasks("run", "image:") == images({"alpha", "beta"})
    assert not report.tasks("run", "base:")


def test_a_new_node_is_built_alone_and_a_removed_one_is_forgotten(lab: Lab) -> None:
    file = lab.write("nodes/delta.yaml", node_text("other", 4))
    assert rebuilt(lab) == images({"delta"})
    file.unlink()
    assert not lab.doit("image").tasks("run")


# ------------------------------------------------------------------------------- damaged artifacts


def overwrite(image: Path) -> None:
    """Change bytes that are mapped; the size stays."""
    bmap = (image.parent / f"{image.name}.bmap").read_text()
    first = int(bmap.split("<Range")[2].split(">")[1].split("<")[0].split("-")[0])
    with image.open("r+b") as file:
        file.seek(first * 4096)
        old = file.read(4096)
        file.seek(first * 4096)
        file.write(bytes(255 - byte for byte in old))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": lambda image: image.unlink(),
    "truncated": lambda image: os.truncate(image, 4096),
    "longer": lambda image: os.truncate(image, image.stat().st_size + 4096),
    "overwritten": overwrite,
    "replaced": lambda image: shutil.copy(image.parent / "beta.img", image),
    "without its receipt": lambda image: (image.parent / "alpha.receipt.json").unlink(),
    "without its block map": lambda image: (image.parent / "alpha.img.bmap").unlink(),
    "with a broken receipt": lambda image: (image.parent / "alpha.receipt.json").write_text("{"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_image_is_built_again_alone(lab: Lab, damage: Callable[[Path], object]) -> None:
    damage(lab.artifacts / "alpha.img")
    assert rebuilt(lab) == images({"alpha"})


def test_a_touched_or_copied_image_is_hashed_and_kept(lab: Lab) -> None:
    image = lab.artifacts / "alpha.img"
    shutil.copy(image, lab.root / "copy.img")
    (lab.root / "copy.img").replace(image)
    assert not lab.doit("image").tasks("run", "image:")


def test_a_lie_in_the_receipt_is_found_by_deep_alone(lab: Lab) -> None:
    image = lab.artifacts / "alpha.img"
    overwrite(image)
    receipt = lab.artifacts / "alpha.receipt.json"
    data = json.loads(receipt.read_text())
    about = image.stat()
    data["stamp"] = {
        "size": about.st_size,
        "mtime_ns": about.st_mtime_ns,
        "ctime_ns": about.st_ctime_ns,
        "ino": about.st_ino,
    }
    receipt.write_text(json.dumps(data))
    assert not lab.doit("image").tasks("run", "image:")
    report = lab.metis("image", "--deep")
    assert report.tasks("run", "image:") == images({"alpha"})


def test_a_lost_base_is_built_again_and_its_images_are_kept(lab: Lab) -> None:
    (lab.artifacts / "base" / "plain.img").unlink()
    report = build(lab)
    assert report.tasks("run", "base:") == {"base:plain"}
    assert not report.tasks("run", "image:")


def test_a_manifest_that_somebody_changed_is_rendered_again(lab: Lab) -> None:
    manifest = lab.artifacts / "manifests" / "alpha.json"
    manifest.write_text(manifest.read_text().replace("192.0.2", "198.51.100"))
    assert lab.doit("image").tasks("run", "manifest:") == {"manifest:alpha"}


def test_a_rotted_golden_is_fetched_again(lab: Lab) -> None:
    (cached,) = (path for path in (lab.root / "cache" / "sha256").iterdir() if not path.suffix)
    with cached.open("r+b") as file:
        file.write(b"rot")
    (lab.artifacts / "base" / "plain.img").unlink()
    report = build(lab)
    assert report.code == 0, report
    assert "rotted" in report.err


def test_a_rotted_golden_that_another_class_has_fetched_again_is_kept(
    fresh: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh.doit("golden").code == 0
    lab = TheLab(Settings.from_environment(fresh.variables({}), REPOSITORY))
    tasks, used = Tasks(lab), []

    class Maker:
        def make_base(self, golden: Fetched, _wanted: object, _target: object) -> None:
            used.append(stamp(golden.path))
            if len(used) == 1:
                lab.store.remove(golden.sha256)  # as for the other class, which was faster
                used.append(stamp(lab.goldens.fetched("other").path))
                raise RottenError("it rotted")

    monkeypatch.setattr(tasks, "_maker", Maker())
    assert tasks.make_base("plain") is None
    _, fetched, used_then = used
    assert used_then == fetched


def state(lab: Lab, node: str) -> tuple[int, int]:
    """What differs when an image was built anew."""
    about = (lab.artifacts / f"{node}.img").stat()
    return about.st_ino, about.st_mtime_ns


def neighbour(lab: Lab, root: Path) -> Lab:
    """A lab with the same inventory in another place; it shares artifacts and secrets."""
    shared = {"METIS_ARTIFACTS": str(lab.artifacts), "METIS_SECRETS": f"plain:{lab.secrets}"}
    other = Lab(root, lab.environment | shared)
    shutil.copytree(lab.inventory, other.inventory)
    return other


def test_another_inventory_with_the_same_names_gets_its_own_images(lab: Lab, tmp_path: Path) -> None:
    other = neighbour(lab, tmp_path)
    other.write("nodes/alpha.yaml", node_text("plain", 99))
    before = state(lab, "alpha"), state(lab, "beta")
    assert other.doit("image").code == 0
    assert (state(lab, "alpha") == before[0], state(lab, "beta") == before[1]) == (False, True)
    assert rebuilt(lab) == images({"alpha"})


def test_another_inventory_with_the_same_classes_gets_its_own_bases(lab: Lab, tmp_path: Path) -> None:
    other = neighbour(lab, tmp_path)
    other.write("overlays/plain/root/etc/issue", "another lab\n")
    assert other.doit("image").code == 0
    report = lab.doit("image")
    assert report.tasks("run", "base:") == {"base:plain"}
    assert report.tasks("run", "image:") == images({"alpha", "beta"})
    assert not lab.doit("image").tasks("run", "image:")


def test_an_edit_that_keeps_a_files_time_is_seen(lab: Lab) -> None:
    file = lab.inventory / "nodes" / "alpha.yaml"
    about = file.stat()
    file.write_text(file.read_text().replace("192.0.2.254", "192.0.2.253"))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert rebuilt(lab) == images({"alpha"})


def test_a_class_that_is_edited_during_a_run_is_seen_by_the_next(fresh: Lab, tiny_golden: Path) -> None:
    """The golden's server edits the class that both nodes' classes extend, while it is asked."""
    golden = tiny_golden.read_bytes()
    common = fresh.write("classes/common.yaml", "abstract: true\ncloud_init: seed\n")

    class Editor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            common.write_text("abstract: true\n")
            self.send_response(200)
            self.send_header("Content-Length", str(len(golden)))
            self.end_headers()
            self.wfile.write(golden)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Editor) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for name in ("plain", "other"):
            edit(f"classes/{name}.yaml", lambda text: f"extends: common\n{text}")(fresh)
        url = f"http://127.0.0.1:{server.server_port}/golden.img"
        edit("classes/plain.yaml", lambda text: text.replace(f"file:{tiny_golden}", url))(fresh)
        assert fresh.doit("image:alpha", "image:gamma").code == 0
        server.shutdown()
    report = fresh.doit("image:alpha", "image:gamma")
    assert report.tasks("run", "manifest:") == {"manifest:alpha", "manifest:gamma"}
    assert "cloud-init.disabled" in (fresh.artifacts / "manifests" / "gamma.json").read_text()


def test_an_overlay_that_cannot_be_named_fails_its_nodes_alone(lab: Lab) -> None:
    node = lab.write("nodes/odd.yaml", f"{node_text('plain', 77)}root_overlay: overlays/a=b/root\n")
    report = lab.doit("image")
    node.unlink()
    assert report.code != 0
    (line,) = report.failures
    assert line.startswith("!! manifest:odd: nodes/odd.yaml:6: root_overlay: ")
    assert not report.tasks("run", "image:")


@pytest.mark.parametrize("kind", ["doit-*.sqlite3", "index-*.json"])
@pytest.mark.parametrize("content", [b"junk", b"", b'{"format": 2, "files": {"a": {}}}'])
def test_a_damaged_state_is_made_anew_and_no_image_is(lab: Lab, kind: str, content: bytes) -> None:
    """The last of the contents is an index in which an entry has another shape."""
    before = [state(lab, node) for node in sorted(NODES)]
    for file in (lab.artifacts / ".state").glob(kind):
        file.write_bytes(content)
    assert lab.doit("image").code == 0
    assert [state(lab, node) for node in sorted(NODES)] == before
    assert not lab.doit("image").tasks("run")


def test_a_state_that_another_run_just_writes_is_not_taken_for_damaged(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_lab = TheLab(Settings.from_environment(lab.variables({}), REPOSITORY))
    file = Path(doit_config(the_lab)["dep_file"])
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0))
        doit_config(the_lab)
    assert file.is_file()


def test_what_a_killed_build_has_left_is_swept_up_by_the_next(lab: Lab) -> None:
    left = lab.artifacts / "base" / ".other.img-abc.part"
    left.mkdir()
    for name in (".lock", "other.img"):
        (left / name).write_bytes(b"half")
    (lab.artifacts / "alpha.img").unlink()
    assert rebuilt(lab) == images({"alpha"})
    assert not left.exists()


# --------------------------------------------------------------------------------- failure and others


@pytest.mark.parametrize("command", ["status", "image"])
def test_without_an_inventory_one_line_says_what_to_name(tmp_path: Path, command: str) -> None:
    said = Lab(tmp_path).metis(command)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"metis: no inventory at {tmp_path}/inventory: name a folder")
    assert said.err.count("\n") == 1


def test_one_bad_node_fails_alone_and_the_exit_status_tells(fresh: Lab) -> None:
    fresh.write("nodes/broken.yaml", "class: plain\nhostnme: x\n")
    report = fresh.doit("-n", "4", "image")
    assert report.code != 0
    assert report.tasks("run", "image:") == images(NODES)
    assert report.failures == [
        "!! manifest:broken: nodes/broken.yaml:2: hostnme: unknown key, did you mean 'hostname'?"
    ]
    assert (fresh.artifacts / "gamma.img").is_file()


def test_both_of_a_duplicate_pair_fail_and_the_rest_is_built(fresh: Lab) -> None:
    fresh.write("nodes/beta.yaml", node_text("plain", 1))
    report = fresh.doit("image")
    assert report.code != 0
    assert {line.split(": ")[0] for line in report.failures} == {"!! manifest:alpha", "!! manifest:beta"}
    assert report.tasks("run", "image:") == images({"gamma"})


def test_a_node_of_the_cluster_without_k3s_is_built_and_whoever_builds_it_is_warned(fresh: Lab) -> None:
    secrets = yaml.safe_load((fresh.secrets / "alpha.yaml").read_text()) | {"k3s_token": TOKEN}
    fresh.write_secrets("alpha", yaml.safe_dump(secrets))
    text = (fresh.inventory / "nodes/alpha.yaml").read_text()
    fresh.write("nodes/alpha.yaml", f"{text}k3s: {{role: agent, server: 'https://192.0.2.10:6443'}}\n")
    said = fresh.metis("image", "--node", "alpha", "--node", "beta")
    assert said.code == 0, said
    assert re.findall(r"(\w+): warning: nothing brings (\S+),", said.err) == [("alpha", "/usr/local/bin/k3s")]
    verified = fresh.metis("verify", "--node", "alpha")
    assert (verified.code, "lacking: 1" in verified.out) == (0, True), verified
    fresh.write("overlays/plain/root/usr/local/bin/k3s", "#!/bin/sh\n")
    said = fresh.metis("image", "--node", "alpha")
    assert said.code == 0, said
    assert "warning" not in said.err
    assert "warning" not in fresh.metis("plan", "--node", "alpha").out


def test_a_bad_class_fails_its_nodes_alone(fresh: Lab) -> None:
    edit("classes/plain.yaml", lambda text: text.replace("amd64", "sparc"))(fresh)
    report = fresh.doit("image")
    assert report.code != 0
    assert report.tasks("run", "image:") == images({"gamma"})


def test_a_second_build_is_told_who_is_building(fresh: Lab) -> None:
    with durable.locked(fresh.artifacts / ".state" / "lock", lambda _: None):
        report = fresh.metis("image", "--node", "alpha")
    assert report.code == 1
    assert [line.split(": ", 1)[1] for line in report.failures] == [
        f"process {os.getpid()} is building in {fresh.artifacts}: wait until it is done, then run again, "
        "or set METIS_WAIT=1"
    ]
    assert not list(fresh.artifacts.glob("*.img"))


BUILDS_MEANWHILE = """
import subprocess
def render(node):
    meanwhile = subprocess.run([{metis!r}, "image", "--node", "gamma"], capture_output=True, text=True)
    with open({said!r}, "w") as said:
        said.write(meanwhile.stderr)
    return ()
"""


def test_a_second_build_is_told_so_also_where_something_failed_in_the_first(fresh: Lab) -> None:
    said = fresh.root / "said"
    fresh.write("hooks/fails.py", "def render(node):\n    raise ValueError\n")
    fresh.write("hooks/builds.py", BUILDS_MEANWHILE.format(metis=str(BIN / "metis"), said=str(said)))
    for number, (name, hook) in enumerate({"alpha": "fails", "beta": "builds"}.items(), 1):
        fresh.write(f"nodes/{name}.yaml", f"{node_text('plain', number)}hooks: [{hook}]\n")
    assert fresh.doit("manifest").tasks("failed") == {"manifest:alpha"}
    assert "is building in" in said.read_text()
    assert "Traceback" not in said.read_text()


def test_a_second_build_that_may_wait_builds_afterwards(fresh: Lab) -> None:
    journal = fresh.root / "journal"
    with ThreadPoolExecutor() as pool:
        with durable.locked(fresh.artifacts / ".state" / "lock", lambda _: None):
            waiting = {"METIS_WAIT": "1", "METIS_JOURNAL": str(journal)}
            second = pool.submit(fresh.metis, "image", "--node", "alpha", **waiting)
            while not (journal.exists() and b"waiting: process" in journal.read_bytes()):
                assert not second.done(), second.result()
        assert second.result().code == 0
    assert (fresh.artifacts / "alpha.img").is_file()


def test_listing_needs_no_network_and_reads_no_node_twice(lab: Lab) -> None:
    report = lab.doit("list")
    assert [line.split()[0] for line in report.out.splitlines()] == [
        "overlay",
        "class",
        "golden",
        "base",
        "manifest",
        "image",
        "burn",
    ]


def test_no_action_has_streams_of_its_own_which_other_threads_would_see(lab: Lab) -> None:
    said = process.run(
        [sys.executable, "-c", STREAMS_IN_ACTIONS], cwd=REPOSITORY, extra_environment=lab.variables({})
    )
    lines = said.out.decode().splitlines()
    assert {"golden:plain True", "image:gamma True", "burn True"} <= set(lines)
    assert [line for line in lines if not line.endswith(" True")] == []


def test_an_unreadable_single_file_is_one_line(fresh: Lab) -> None:
    file = fresh.write("all.yaml", "nodes: [\n")
    report = fresh.doit("list", METIS_INVENTORY=str(file))
    assert report.code != 0
    assert "Traceback" not in report.out + report.err
    assert "all.yaml:2" in report.err


def test_the_same_lab_as_one_file_gives_the_same_images(fresh: Lab) -> None:
    assert fresh.doit("image").code == 0
    parts = ["classes:\n"]
    for kind in ("classes", "nodes"):
        parts += [] if kind == "classes" else ["nodes:\n"]
        for file in sorted((fresh.inventory / kind).glob("*.yaml")):
            text = "".join(f"    {line}\n" for line in file.read_text().splitlines())
            parts.append(f"  {file.stem}:\n{text}")
    single = fresh.write("lab.yaml", "".join(parts))
    before = [state(fresh, node) for node in sorted(NODES)]
    report = fresh.metis("image", "--inventory", str(single))
    assert report.code == 0, report
    assert [state(fresh, node) for node in sorted(NODES)] == before


def test_an_image_goes_elsewhere_with_its_map_and_receipt(lab: Lab, tmp_path: Path) -> None:
    target = tmp_path / "card.img"
    report = lab.metis("image", "--node", "alpha", "--output", str(target))
    assert report.code == 0, report
    assert target.read_bytes() == (lab.artifacts / "alpha.img").read_bytes()
    assert (tmp_path / "card.img.bmap").is_file()
    assert (tmp_path / "card.receipt.json").is_file()


def test_the_summary_of_an_image_names_what_is_in_its_base_too(lab: Lab) -> None:
    report = lab.metis("image", "--node", "alpha")
    lines = [" ".join(line.split()) for line in report.out.splitlines()]
    planned = [" ".join(line.split()) for line in lab.metis("plan", "--node", "alpha").out.splitlines()]
    both = planned[planned.index("in the base:") : -1]
    assert lines[1:-1] == both
    assert "in the image:" in both
    assert any(line.endswith("/etc/issue class plain") for line in both)


# -------------------------------------------------------------------------------------- hard ends


@pytest.mark.parametrize(
    ("bases", "what"), [(0.5, "base/plain.img"), (1.5, "alpha.img")], ids=["unpacking", "copying"]
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    lab: Lab, tmp_path: Path, bases: float, what: str
) -> None:
    one = (lab.artifacts / "base" / "plain.img").stat().st_blocks * 512
    with small_disk(tmp_path / "small", int(one * bases) + (128 << 10)) as folder:
        report = lab.metis("image", "--node", "alpha", "--artifacts", str(folder))
        assert report.code == 1
        assert report.failures == [
            f"!! {'base:plain' if bases < 1 else 'image:alpha'}: cannot write {folder / what}: "
            "no space left on device: free some space there and run again"
        ]
        assert "Traceback" not in report.err
        assert not list(folder.rglob("*.part"))
        assert not (folder / "alpha.img").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "delays"),
    [(signal.SIGKILL, (0.6, 1.2, 3.0, 8.0, 14.0)), (signal.SIGINT, (1.2, 8.0))],
    ids=["SIGKILL", "Ctrl-C"],
)
def test_a_build_that_is_cut_off_leaves_nothing_that_counts(
    fresh: Lab, sign: signal.Signals, delays: Sequence[float]
) -> None:
    """Through the appliance, at several moments; afterwards a run ends well and the image is right."""
    fresh.environment["METIS_INJECTOR"] = "guestfs"
    built = None
    for delay in delays:
        child = os.posix_spawn(
            BIN / "doit",
            ["doit", "--file", str(REPOSITORY / "dodo.py"), "image:alpha"],
            {**os.environ, **fresh.variables({})},
            setpgroup=0,
        )
        time.sleep(delay)
        # A terminal sends Ctrl-C to all that run in it; a kill hits one alone.
        (os.killpg if sign == signal.SIGINT else os.kill)(child, sign)
        os.waitpid(child, 0)
        built = state(fresh, "alpha") if (fresh.artifacts / "alpha.receipt.json").exists() else None
        if sign == signal.SIGINT:
            assert not fresh.leftovers()
    report = fresh.doit("image:alpha")
    assert report.code == 0, report
    assert not fresh.leftovers()
    if built:  # what was whole is kept, though doit may not have come to note it
        assert state(fresh, "alpha") == built
    else:
        assert report.tasks("run", "image:") == images({"alpha"})
    assert not fresh.metis("image", "--node", "alpha", "--deep").tasks("run", "image:")
