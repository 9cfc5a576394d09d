"""Fixtures that every test may ask for, and what CI asks of every test."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from tests.support import goldens
from tests.support.certificate import make_certificate

# No clock in a test, and no surprise in CI: its examples are always the same, a desk looks for new ones.
settings.register_profile(
    "metis", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("metis")


def pytest_configure() -> None:
    """A shell lets what runs in the background ignore Ctrl-C; so would children that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A desk may lack what a test needs; in CI a test that is skipped has failed."""
    report = yield
    if report.skipped and "CI" in os.environ:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


DISKS = frozenset(
    "test_burn.py test_burn_faults.py test_cards.py test_direct.py test_injectors.py test_media.py "
    "test_mounted.py test_render_boot.py".split()
)
"""Who looks for cards opens each disk for a blink, and who looks whether a disk is free may see it."""

LONGEST = (
    "test_boot.py test_guards.py test_containers.py test_real_images.py test_leaks.py test_service_killed.py"
).split()


class _ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Gives the tests of a file to one worker, as they share what takes long to make; those of DISKS too."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "disks" if Path(file).name in DISKS else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Who asks pytest-xdist for another way gets that one."""
    return _ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: where tests run side by side, no worker is to wait for them at the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(autouse=True, scope="session")
def state_of_no_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the settings of whoever runs it, reads or writes their secrets, or asks their cluster."""
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        changed.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        for name in tuple(os.environ):
            if re.match("METIS_(?!TEST_)|VAULT_|ETCDCTL_|KUBECONFIG$|KUBERNETES_|SUDO_", name):
                changed.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def limits_of_this_process() -> Iterator[None]:
    """`metis` has us leave no cores, which nobody can undo: only children of tests are to do so."""
    with patch("pipeline.machine.posix.leave_no_cores", lambda: None):
        yield


@pytest.fixture(autouse=True)
def process_of_one_test() -> Iterator[None]:
    """What `metis` sets in its process, as flags become variables: nothing of it stays for the next test."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    with patch.dict(os.environ), patch.object(sys, "excepthook", sys.excepthook):
        yield
    signal.signal(signal.SIGTERM, on_sigterm)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def tiny_golden() -> Path:
    return goldens.tiny_golden()


@pytest.fixture(scope="session")
def tiny_pi_golden() -> Path:
    return goldens.tiny_pi_golden()


@pytest.fixture(scope="session")
def debian_golden() -> Path:
    return goldens.debian_golden()


@pytest.fixture(scope="session")
def debian_pi_golden() -> Path:
    return goldens.debian_golden("arm64")


@pytest.fixture(scope="session")
def pi_golden() -> Path:
    return goldens.pi_golden()
