"""Images that workers on other machines make: all of them, none twice, and by no worker that does not fit."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.steps import receipts
from tests.support import goldens
from tests.support.authority import Authority
from tests.support.lab import BIN, Lab, Report, class_text
from tests.support.netns import network
from tests.support.switch import heard, joined
from tests.support.waiting import PATIENCE, wait_for_words, wait_until
from tests.support.workers import (
    OTHER_METIS,
    OTHER_VERSIONS,
    Cluster,
    certificates,
    hanging,
    other_disk,
    scheduler,
)

pytestmark = pytest.mark.slow

WORKERS = 4
IMAGES = 64


def make_lab(root: Path, nodes: int) -> Lab:
    """A lab whose class has an overlay, and in which nothing is made yet."""
    lab = Lab(root, {"METIS_INJECTOR": "direct"})
    golden = goldens.tiny_golden(size=4)
    more = "root_overlay: overlays/ash/root\n"
    lab.write("classes/ash.yaml", class_text(golden, goldens.sha256(golden), more))
    lab.write("overlays/ash/root/etc/issue", "ash\n")
    for number in range(1, nodes + 1):
        address = f"address: 192.0.2.{number}/24, gateway: 192.0.2.254"
        lab.write(f"nodes/n-{number}.yaml", f"class: ash\nnetwork: {{interface: eth0, {address}}}\n")
    return lab


def finished(lab: Lab) -> set[str]:
    return {file.name.partition(".")[0] for file in lab.artifacts.glob("*.receipt.json")}


def names(nodes: int) -> set[str]:
    return {f"n-{number}" for number in range(1, nodes + 1)}


# ------------------------------------------------------------------------- a night on four machines


@pytest.fixture(scope="module")
def own_disks() -> Iterator[list[Path]]:
    """Caches for half of the workers on another disk than the one that all share."""
    with other_disk() as folder:
        yield [folder / f"w{number}" for number in range(WORKERS // 2)]


def is_at_work(cache: Path) -> bool:
    """Whether a worker with a disk of its own has its base there."""
    return any((cache / "bases").glob("*.receipt.json"))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, own_disks: list[Path]) -> tuple[Lab, Report]:
    """A nightly run whose images four machines make and read back; one of them loses power in the middle."""
    root = tmp_path_factory.mktemp("night")
    lab, authority = make_lab(root / "lab", IMAGES), Authority.make(root / "tls", "lab")
    with joined(1 + WORKERS) as machines:
        (hub, address), *others = machines
        own = certificates(authority, "all")
        with scheduler(root / "dask", host=address, certificates=own, within=hub.within) as cluster:
            shared = [lab.artifacts / "cache"] * (WORKERS - len(own_disks))
            workers = [
                cluster.start(lab, f"w{number}", within=network.within, METIS_CACHE=str(cache))
                for number, ((network, _), cache) in enumerate(zip(others, own_disks + shared, strict=True))
            ]
            cluster.wait()
            lab.environment |= cluster.environment
            log, words = root / "log", [*hub.within, str(BIN / "metis"), "nightly", "--json"]
            with process.background(words, log, extra_environment=lab.variables({})) as run:
                wait_until(lambda: len(finished(lab)) >= IMAGES // 4 and is_at_work(own_disks[0]), run)
                workers[0].kill()
                assert not finished(lab) >= names(IMAGES)
                assert run.wait(PATIENCE)
                code = 0 if run.last_words == "}" else 1
    return lab, Report(code, log.read_text(), "")


def test_all_images_are_made_and_read_back_though_a_worker_dies(night: tuple[Lab, Report]) -> None:
    lab, said = night
    counts = json.loads(said.out[said.out.index("\n{") :])["counts"]
    assert counts == {"built": IMAGES, "skipped": 0, "failed": 0}
    quiet = QuietReporter(io.StringIO())
    images = [lab.artifacts / f"{name}.img" for name in names(IMAGES)]
    assert all(receipts.is_whole(image, deep=True, reporter=quiet) for image in images)


def test_no_image_is_there_twice_and_nothing_of_the_dead_workers(night: tuple[Lab, Report]) -> None:
    lab, _ = night
    built = json.loads(lab.metis("history", "--limit", "200", "--json", METIS_SCHEDULER="").out)
    assert sorted(each["node"] for each in built if each["kind"] == "build") == sorted(names(IMAGES))
    assert {file.stem for file in lab.artifacts.glob("*.img")} == names(IMAGES)
    assert len({receipts.read(file).id for file in lab.artifacts.glob("*.img")}) == IMAGES  # type: ignore[union-attr]
    assert lab.leftovers() == []


def test_what_workers_made_is_what_this_machine_would_have_made(night: tuple[Lab, Report]) -> None:
    lab, _ = night
    said = lab.metis("verify", "--node", "n-1", METIS_SCHEDULER="")
    assert said.code == 0, said
    assert not lab.metis("image", METIS_SCHEDULER="").tasks("run")


def test_a_worker_with_a_disk_of_its_own_makes_images_there_and_leaves_none(
    night: tuple[Lab, Report], own_disks: list[Path]
) -> None:
    lab, _ = night
    base = receipts.read(lab.artifacts / "base/ash.img")
    assert base is not None
    for cache in own_disks:
        assert [file.name for file in (cache / "bases").glob("*.img")] == [f"{base.bmap_sha256}.img"]
    _, *alive = own_disks
    assert [file for cache in alive for file in (cache / "images").rglob("*.img")] == []


# ------------------------------------------------------------------------------------ what travels


def test_no_secret_is_sent(tmp_path: Path) -> None:
    """Even in the clear, where all that passes is looked at."""
    lab = make_lab(tmp_path / "lab", 1)
    lab.write_secrets("n-1", "ssh_password: 'hunter2 & co'\n")
    with (
        network() as alone,
        heard(alone, "lo") as passed,
        scheduler(tmp_path / "dask", within=alone.within) as cluster,
    ):
        cluster.start(lab, "w1", within=alone.within)
        cluster.wait()
        lab.within = alone.within
        assert lab.metis("image", **cluster.environment).code == 0
    logs = b"".join(log.read_bytes() for log in (tmp_path / "dask").glob("*.log"))
    document = yaml.safe_load((lab.secrets / "n-1.yaml").read_text())
    values = {**document.pop("extra"), **document}
    assert len(values) > 5
    told = bytes(passed) + logs
    assert b"extra.machine_id" in told  # they are spoken of by name
    lines = {line.encode() for value in values.values() for line in value.splitlines() if "-----" not in line}
    assert {line for line in lines if line in told} == set()


# ------------------------------------------------------------------------------- who is not used


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image that a worker was making in its cache when it was killed."""
    folder = tmp_path_factory.mktemp("cache") / "images/.n-1-x.part"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "n-1.img").write_bytes(b"a secret")
    return folder


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, left: Path) -> Report:
    """A run with workers of which none fits."""
    root = tmp_path_factory.mktemp("refused")
    lab = make_lab(root / "lab", 1)
    with scheduler(root / "dask", wait=10) as cluster:
        elsewhere = (
            "unshare",
            "--mount",
            "--",
            "sh",
            "-c",
            f'mount -t tmpfs none "{root}/lab" && exec "$@"',
            "sh",
        )
        lab.root.mkdir(exist_ok=True)
        cluster.start(lab, "old", code=OTHER_METIS)
        cluster.start(lab, "newer", code=OTHER_VERSIONS)
        cluster.start(lab, "looped", METIS_INJECTOR="loop", METIS_CACHE=str(left.parents[1]))
        cluster.start(lab, "apart", within=elsewhere)
        cluster.wait()
        return lab.metis("image", **cluster.environment)


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        ("old", "Metis is 0.0.9 there and"),
        ("newer", "what it makes is 99."),
        ("looped", "METIS_INJECTOR is loop there and direct here"),
        ("apart", "it does not share "),
    ],
)
def test_a_worker_that_does_not_fit_is_refused_by_its_name(refused: Report, worker: str, why: str) -> None:
    (line,) = [line for line in refused.err.splitlines() if line.startswith(f"worker {worker} is not used: ")]
    assert why in line


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Report]:
    """A run with a worker that has other secrets of one node, and one that has none of another."""
    root = tmp_path_factory.mktemp("strangers")
    lab, other, part = make_lab(root / "lab", 6), root / "other", root / "part"
    assert lab.metis("image").code == 0  # which makes the secrets
    for file in lab.artifacts.glob("n-*"):
        file.unlink()
    for secrets in (other, part):
        shutil.copytree(lab.secrets, secrets)
        document = yaml.safe_load((secrets / "n-3.yaml").read_text())
        document["extra"]["machine_id"] = "0123456789abcdef0123456789abcdef"
        (secrets / "n-3.yaml").write_text(yaml.safe_dump(document))
    (part / "n-5.yaml").unlink()
    with scheduler(root / "dask", wait=30) as cluster:
        cluster.start(lab, "other", METIS_SECRETS=f"plain:{other}")
        cluster.start(lab, "part", METIS_SECRETS=f"plain:{part}")
        cluster.wait()
        return lab, lab.metis("image", "--jobs", "2", **cluster.environment)


def test_a_node_whose_secrets_no_worker_has_fails_alone(strangers: tuple[Lab, Report]) -> None:
    lab, said = strangers
    assert said.code == 5, said
    assert finished(lab) == names(6) - {"n-3"}
    (line,) = said.failures
    assert "no worker can make n-3: why stands above" in line
    for worker in ("other", "part"):
        assert f"worker {worker} does not make n-3: its secrets of n-3, in " in said.err
    assert lab.leftovers() == []


def test_a_worker_that_is_told_to_end_in_the_middle_leaves_no_image(tmp_path: Path, small: Lab) -> None:
    for file in small.artifacts.glob("n-*"):
        file.unlink()
    with other_disk() as disk, scheduler(tmp_path, wait=20) as cluster:
        cache = disk / "cache"
        ending = cluster.start(small, "ending", code=hanging(1), METIS_CACHE=str(cache))
        cluster.wait()
        given = small.variables(cluster.environment)
        words = (BIN / "metis", "image", "--jobs", "1")
        with process.background(words, tmp_path / "log", extra_environment=given) as run:
            wait_for_words(cluster.logs["ending"], b"made")
            assert [*cache.rglob("n-?.img")]
            ending._child.send_signal(signal.SIGTERM)
            assert ending.wait(PATIENCE)
            assert list((cache / "images").iterdir()) == []
            assert run.wait(PATIENCE)


@pytest.mark.usefixtures("refused")
def test_a_worker_that_starts_again_removes_what_was_being_made_when_it_was_killed(left: Path) -> None:
    assert not left.exists()


def test_without_a_worker_that_fits_the_run_ends(refused: Report) -> None:
    assert refused.code == 5
    (line,) = refused.failures
    assert "has no worker that fits" in line
    assert "Traceback" not in refused.err


# ------------------------------------------------------------------------- schedulers that are not there


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab of a few nodes whose base is made."""
    lab = make_lab(tmp_path_factory.mktemp("small"), 3)
    assert lab.doit("base").code == 0
    return lab


def check_out_of_reach(said: Report, what: str) -> None:
    assert said.code == 5, said
    assert what in "\n".join(said.failures)
    assert "Traceback" not in said.err
    assert "distributed" not in said.err


@pytest.fixture(scope="module")
def nowhere(closed_port: int) -> dict[str, str]:
    """What names a scheduler that is not there."""
    return {"METIS_SCHEDULER": f"tcp://127.0.0.1:{closed_port}", "METIS_SCHEDULER_WAIT": "1"}


def test_a_scheduler_that_is_not_there_is_out_of_reach(small: Lab, nowhere: dict[str, str]) -> None:
    check_out_of_reach(small.metis("image", **nowhere), f"{nowhere['METIS_SCHEDULER']} cannot be reached")


def test_a_scheduler_that_is_not_there_is_out_of_reach_of_a_worker(
    small: Lab, nowhere: dict[str, str]
) -> None:
    said = small.metis("worker", **nowhere)
    assert said.code == 5
    (line,) = said.err.splitlines()
    assert line.startswith(f"metis: the scheduler {nowhere['METIS_SCHEDULER']} cannot be reached: ")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    root = tmp_path_factory.mktemp("secured")
    own = certificates(Authority.make(root / "tls", "lab"), "all")
    with scheduler(root / "dask", certificates=own, wait=10) as cluster:
        yield cluster


def test_a_scheduler_without_workers_is_told_of(small: Lab, secured: Cluster) -> None:
    check_out_of_reach(small.metis("image", **secured.environment), "has no worker that fits")


def test_a_certificate_of_another_authority_is_none(small: Lab, secured: Cluster, tmp_path: Path) -> None:
    other = certificates(Authority.make(tmp_path, "other"), "all")
    said = small.metis("image", **{**secured.environment, **other})
    check_out_of_reach(said, "cannot be reached")
    assert "same authority" in "\n".join(said.failures)


# --------------------------------------------------------------------------------- runs that are cut off


@pytest.fixture
def stuck(tmp_path: Path, small: Lab) -> Iterator[Cluster]:
    """A worker that hangs with its second image, and no image is there yet."""
    for file in small.artifacts.glob("n-*"):
        file.unlink()
    with scheduler(tmp_path, wait=30) as cluster:
        cluster.start(small, "stuck", code=hanging(2))
        cluster.wait()
        yield cluster


def test_when_the_scheduler_dies_what_is_finished_stays(small: Lab, stuck: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    given = small.variables(stuck.environment)
    with process.background([BIN / "metis", "image"], log, extra_environment=given) as run:
        wait_until(lambda: finished(small), run)
        stuck.process.kill()
        assert run.wait(PATIENCE)
    said = log.read_text()
    assert run.last_words.startswith("metis: not everything could be built")
    assert "is lost: run again once it is there; what is finished stays" in said
    assert "Traceback" not in said
    assert finished(small) < names(3)
    assert small.leftovers() == []


def test_ctrl_c_takes_back_what_was_sent(small: Lab, stuck: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    given = small.variables(stuck.environment)
    with process.background([BIN / "metis", "image"], log, extra_environment=given) as run:
        wait_until(lambda: finished(small), run)
        run._child.send_signal(signal.SIGINT)
        assert run.wait(PATIENCE)
    assert run.last_words == "interrupted; nothing half-made counts as done"
    assert finished(small) < names(3)
    assert small.leftovers() == []
