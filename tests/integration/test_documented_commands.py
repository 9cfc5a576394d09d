"""Every command that a page tells an operator to run is run, with the files that the page shows.

Each page has a lab of its own (tests/support/desk.py). STAND_INS says what stands for what a test has not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import desk as desks
from tests.support.desk import Around, Desk, StandIn
from tests.support.documented import Command, Written, steps
from tests.support.lab import REPOSITORY

PAGES = [
    page
    for page in [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]
    if any(isinstance(step, Command) for step in steps(page.read_text("utf-8")))
]
CERTIFIED = 'cat "$METIS_SCHEDULER_CA" "$METIS_SCHEDULER_CERT" "$METIS_SCHEDULER_KEY" >/dev/null && '
"""Fails where a page names a scheduler over TLS before it has made and named the files that this takes."""
STAND_INS = (
    # What a test has not, or what has a test of its own.
    StandIn(r"^(kubectl|vault|scp|ssh titan-13) .*", "true", "no such cluster, Vault or node is here"),
    StandIn(r"^METIS_TEST_.*", "true", "that is for who has a Vault"),
    StandIn(r"^ask .*", "true", "tests/integration/test_service_api.py asks a service"),
    StandIn(r"^metis-sentinel --push .*", "metis-sentinel", "tests/integration/test_sentinel_push.py pushes"),
    StandIn(r"(^|(?<=&& ))sudo (?!(-E |-H -u metis )?\.venv/bin/).*", "true", "it would change this machine"),
    StandIn(r"^udevadm .*", "true", "there is no reader here"),
    StandIn(
        r"^(.*) --scheduler tls://\S+",
        rf"{CERTIFIED}\1",
        "tests/integration/test_workers.py has a scheduler",
    ),
    StandIn(r"^METIS_SCHEDULER=\S+ ", CERTIFIED, "the same"),
    StandIn(r"^rpi-imager .*", "true", "Imager is a program of a desktop"),
    StandIn(
        r"^(py |\.venv\\Scripts).*",
        "true",
        "tests/integration/test_gui_without_posix.py is as near as it gets",
    ),
    StandIn(r"^make demo$", "metis image --node demo-1", "this is all it does once there is an environment"),
    StandIn(r"^make (\w+)$", r"make -n -C {repository} \1", "CI itself; and what makes an environment anew"),
    StandIn(r"\bmetis boot .*", "metis boot --help", "takes minutes: tests/machine/test_boot.py boots"),
    StandIn(
        r"--boot /mnt/boot --root /mnt/root", "--help", "tests/integration/test_mounted.py mounts a card"
    ),
    StandIn(r"--auto-mount", "--help", "the same"),
    StandIn(
        r"\bmetis golden push .* --signature .*", "metis golden push --help", "test_goldens_in_a_registry.py"
    ),
    StandIn(r"\bmetis history --diff .*", "metis history", "there are no two such builds: test_history.py"),
    StandIn(r"(ssh://atlas|root)@titan-13", "old-card", "tests/integration/test_adopt.py asks a real sshd"),
    # What goes on for ever, or asks.
    StandIn(r"^.*\bmetis (gui|serve)\b.*$", "until-it-serves {0} --port 0", "goes on until somebody ends it"),
    StandIn(r" \| git apply$", "", "there is no patch where nothing is recommended: test_facts.py"),
    StandIn(r" --interval 5m", "", "goes on until somebody ends it"),
    StandIn(r"\bmetis secrets set (?!.*--stdin).*", "{0} --stdin < token", "asks at a terminal"),
    StandIn(r"\bmetis secrets rotate .*", "{0} --yes", "asks at a terminal"),
    StandIn(r"\bmetis preflight .*--fix\b", "{0} --yes", "asks at a terminal"),
    StandIn(r"\bmetis burn (?!.*--(device|help)).*", "{0} --device card", "waits for a card"),
    StandIn(r"\bmetis burn (?!.*--(yes|help)).*", "{0} --yes", "asks at a terminal"),
    # What is elsewhere, and what a reader puts in.
    StandIn(r"/dev/(sdX|disk/by-id/\S+)", "card", "a file is a card here"),
    StandIn(r"(?<=--image )titan-13\.img", "artifacts/titan-13.img", "nobody has carried it elsewhere"),
    StandIn(r"/srv/", "srv/", "not in the folders of this machine"),
    StandIn(r"harbor\.example|registry\.lab", "{registry}", "a registry on this machine"),
    StandIn(r"(?<=--class )C\b", "rpi4-armbian-longhorn", "a placeholder"),
    StandIn(r"(?<=--node )NODE\b", "demo-1", "a placeholder"),
    StandIn(r"\bage1…", "{recipient}", "a placeholder"),
    StandIn(r"@sha256:…", "@{digest}", "a placeholder: what the push before has printed"),
    StandIn(
        r"https://github\.com/k3s-io/\S+\n +sha256: …", "{k3s}\n    sha256: {k3s-hash}", "no network is here"
    ),
    StandIn(r"(?<=sha256: )…|(?<==)…$", "{golden}", "a placeholder"),
    StandIn(r"plain:DIR", "plain:plain", "a placeholder"),
)


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    with desks.around(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, around: Around) -> Desk:
    return desks.furnish(tmp_path / "desk", around, STAND_INS)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_of_a_page_works(page: Path, desk: Desk) -> None:
    failed = []
    found = list(steps(page.read_text("utf-8")))
    desk.forget(found)
    for step in found:
        if isinstance(step, Written):
            desk.write(step)
        elif (ended := desk.run(step)).code != 0:
            said = (ended.out + ended.err).decode()
            failed.append(
                f"{page.name}:{step.line}: {desk.filled(step.text)}: exit code {ended.code}\n{said}"
            )
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("stand_in", STAND_INS, ids=lambda stand_in: stand_in.why)
def test_nothing_stands_in_for_what_no_page_has(stand_in: StandIn) -> None:
    found = [step for page in PAGES for step in steps(page.read_text("utf-8"))]
    texts = [
        step.text if isinstance(step, Written) else step.text.partition(" #")[0].rstrip() for step in found
    ]
    assert any(re.search(stand_in.pattern, text, re.M) for text in texts)
