"""What `compare` finds in a tree that a manifest was applied to, over a folder, and how a verdict reads.

What holds for real images is in the integration tests of `metis verify`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError, SourceError
from pipeline.inject.apply import apply
from pipeline.inject.beneath import Beneath
from pipeline.inject.compare import Finding, compare
from pipeline.inject.folder import FolderTree
from pipeline.inject.paths import Paths
from pipeline.inject.sources import Sources
from pipeline.inject.tree import READ_LIMIT, Places, Trees
from pipeline.manifest import Contribution, collect
from pipeline.model import (
    Blob,
    Directory,
    Edit,
    Entry,
    File,
    ImageFact,
    Manifest,
    Needs,
    Remove,
    Reserved,
    SecretRef,
    Side,
    Symlink,
    Text,
)
from pipeline.render.owned import STRAYS
from pipeline.steps.verify import Verdict
from tests.unit.test_apply import ENTRIES, Nodes, plant, trees

TOKEN = b"K10-hunter2"
BLOB = bytes(range(256)) * 64
BLOB_SHA256 = hashlib.sha256(BLOB).hexdigest()


def reveal(ref: SecretRef) -> bytes:
    assert ref.name == "k3s_token"
    return TOKEN


def open_blob(blob: Blob) -> BinaryIO:
    assert blob.sha256 == BLOB_SHA256
    return io.BytesIO(BLOB)


SOURCES = Sources(open_blob, reveal, {"root_partuuid": "0a1b"})


def manifest(entries: Iterable[Entry]) -> Manifest:
    return collect("alpha", [Contribution("test", tuple(entries))])


@contextmanager
def opened(folder: Path) -> Iterator[Trees]:
    """The folders `root` and, where there is one, `boot` as the file systems of an image."""
    with Beneath.folder(folder / "root") as root:
        tree = FolderTree(root, "alpha.img")
        if not (folder / "boot").is_dir():
            yield Trees(Places(1, None), tree, None)
            return
        with Beneath.folder(folder / "boot") as boot:
            yield Trees(Places(2, 1), tree, FolderTree(boot, "alpha.img", plain=True))


def put_in(folder: Path, entries: Iterable[Entry]) -> None:
    with opened(folder) as found:
        apply(manifest(entries), found, SOURCES, folder)


def findings(
    folder: Path, own: Iterable[Entry], base: Iterable[Entry] = (), sources: Sources = SOURCES
) -> list[Finding]:
    with opened(folder) as found:
        return compare(manifest(base), manifest(own), found, sources, STRAYS)


def said(found: Iterable[Finding]) -> list[tuple[str, ...]]:
    return [(item.path, item.what, item.expected, item.found) for item in found]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The folder of an image with a root and a boot file system, in the way of a golden."""
    (tmp_path / "boot").mkdir()
    for name in ("etc/netplan", "usr/lib", "etc/systemd/system/multi-user.target.wants"):
        (tmp_path / "root" / name).mkdir(parents=True)
    (tmp_path / "root/lib").symlink_to("usr/lib")
    (tmp_path / "root/etc/passwd").write_text("root:x:0:0::/:\natlas:x:1000:1000::/:\n")
    (tmp_path / "root/etc/group").write_text("root:x:0:\natlas:x:1000:\n")
    (tmp_path / "root/etc/hosts").write_text("127.0.0.1\tlocalhost\n")
    (tmp_path / "root/etc/netplan/50-cloud-init.yaml").write_text("network: {}\n")
    (tmp_path / "boot/user-data").write_text("#cloud-config\n")
    return tmp_path


OWN: tuple[Entry, ...] = (
    File("/etc/hostname", (Text("alpha\n"),)),
    File("/etc/rancher/k3s/join-token", (SecretRef("k3s_token"), Text("\n")), 0o600),
    File("/lib/systemd/system/metis.service", (Text("[Unit]\n"),)),
    File("/home/atlas/.profile", (), 0o640, "atlas", "atlas"),
    Directory("/mnt/longhorn", 0o700, "atlas", "atlas"),
    Symlink("/etc/localtime", "/usr/share/zoneinfo/UTC"),
    Symlink("/etc/systemd/system/multi-user.target.wants/k3s.service", "../k3s.service"),
    Remove("/etc/netplan/50-cloud-init.yaml"),
    Edit("/etc/hosts", "hosts", (("names", "alpha"),)),
    Edit("/etc/not-there", "hosts", (("names", "alpha"),), optional=True),
    Remove("/user-data", side="boot"),
    File("/config.txt", (Text("arm_64bit=1\n"),), side="boot"),
)
BASE: tuple[Entry, ...] = (
    File("/usr/local/bin/k3s", (Blob(BLOB_SHA256, "k3s"),), 0o755),
    File("/etc/hostname", (Text("of the class\n"),)),
)


@pytest.fixture
def applied(image: Path) -> Path:
    """The image with a base's and a node's entries in it."""
    put_in(image, BASE)
    put_in(image, OWN)
    return image


def test_what_was_put_in_has_no_differences(applied: Path) -> None:
    assert findings(applied, OWN, BASE) == []


# ------------------------------------------------------------------------------------- every difference


def write(path: str, text: str) -> Callable[[Path], object]:
    def change(top: Path) -> object:
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        return (top / path).write_text(text)

    return change


def replaced(path: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def change(top: Path) -> object:
        (top / path).rename(top / f"{path}.old")
        return make(top / path)

    return change


DIFFERENCES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a file that is gone": (
        lambda top: (top / "root/etc/hostname").unlink(),
        ("/etc/hostname", "missing", "file", "nothing"),
    ),
    "a folder in a file's place": (
        replaced("root/etc/hostname", Path.mkdir),
        ("/etc/hostname", "kind", "file", "directory"),
    ),
    "a link in a file's place": (
        replaced("root/etc/hostname", lambda file: file.symlink_to("/proc/sys/kernel/hostname")),
        ("/etc/hostname", "kind", "file", "symlink"),
    ),
    "a link to the file itself": (
        replaced("root/etc/hostname", lambda file: file.symlink_to("hostname.old")),
        ("/etc/hostname", "kind", "file", "symlink"),
    ),
    "a pipe in a file's place": (
        replaced("root/etc/hostname", os.mkfifo),
        ("/etc/hostname", "kind", "file", "other"),
    ),
    "other content": (
        write("root/etc/hostname", "beta\n"),
        (
            "/etc/hostname",
            "content",
            f"sha256 {hashlib.sha256(b'alpha' + bytes([10])).hexdigest()}",
            f"sha256 {hashlib.sha256(b'beta' + bytes([10])).hexdigest()}",
        ),
    ),
    "another secret": (
        write("root/etc/rancher/k3s/join-token", "K10-old\n"),
        ("/etc/rancher/k3s/join-token", "content", "what is made of the node's secrets", "something else"),
    ),
    "another file of the class": (
        lambda top: (top / "root/usr/local/bin/k3s").write_bytes(BLOB[:-1]),
        (
            "/usr/local/bin/k3s",
            "content",
            f"sha256 {BLOB_SHA256}",
            f"sha256 {hashlib.sha256(BLOB[:-1]).hexdigest()}",
        ),
    ),
    "a mode": (
        lambda top: (top / "root/etc/rancher/k3s/join-token").chmod(0o644),
        ("/etc/rancher/k3s/join-token", "mode", "0600", "0644"),
    ),
    "a mode with a set-uid bit": (
        lambda top: (top / "root/usr/local/bin/k3s").chmod(0o4755),
        ("/usr/local/bin/k3s", "mode", "0755", "4755"),
    ),
    "an owner": (
        lambda top: os.chown(top / "root/home/atlas/.profile", 0, -1),
        ("/home/atlas/.profile", "owner", "atlas (1000)", "0"),
    ),
    "a group": (
        lambda top: os.chown(top / "root/mnt/longhorn", -1, 7),
        ("/mnt/longhorn", "group", "atlas (1000)", "7"),
    ),
    "a link that leads elsewhere": (
        replaced("root/etc/localtime", lambda link: link.symlink_to("/usr/share/zoneinfo/UTc")),
        ("/etc/localtime", "target", "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/UTc"),
    ),
    "an edit that was taken back": (
        write("root/etc/hosts", "127.0.0.1\tlocalhost\n"),
        ("/etc/hosts", "edit", "hosts", "not applied"),
    ),
    "an edited file that cannot be edited": (
        lambda top: (top / "root/etc/hosts").write_bytes(b"\xff"),
        ("/etc/hosts", "edit", "hosts", "cannot edit /etc/hosts of the golden: it is not UTF-8 text"),
    ),
    "an edited file that is too long": (
        lambda top: os.truncate(top / "root/etc/hosts", READ_LIMIT + 1),
        (
            "/etc/hosts",
            "unreadable",
            "file",
            f"/etc/hosts in the golden is {READ_LIMIT + 1} bytes long: too long to be edited",
        ),
    ),
    "what was removed": (
        write("root/etc/netplan/50-cloud-init.yaml", "network: {}\n"),
        ("/etc/netplan/50-cloud-init.yaml", "extra", "nothing: it is to be removed", "file"),
    ),
    "what was removed from FAT": (
        write("boot/user-data", "#cloud-config\n"),
        ("/user-data", "extra", "nothing: it is to be removed", "file"),
    ),
    "a file on FAT": (
        write("boot/config.txt", "arm_64bit=0\n"),
        (
            "/config.txt",
            "content",
            f"sha256 {hashlib.sha256(b'arm_64bit=1' + bytes([10])).hexdigest()}",
            f"sha256 {hashlib.sha256(b'arm_64bit=0' + bytes([10])).hexdigest()}",
        ),
    ),
}


@pytest.mark.parametrize(("change", "expected"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_a_difference_is_found_and_named(
    applied: Path, change: Callable[[Path], object], expected: tuple[str, ...]
) -> None:
    change(applied)
    found = findings(applied, OWN, BASE)
    assert expected in said(found)
    assert {item.path for item in found} == {expected[0]}


def test_an_image_without_a_boot_partition_lacks_what_belongs_there(applied: Path) -> None:
    shutil.rmtree(applied / "boot")
    assert said(findings(applied, OWN, BASE)) == [("/config.txt", "missing", "file", "nothing")]


def test_parents_that_lead_nowhere_or_in_a_circle_make_what_is_beneath_differ(applied: Path) -> None:
    shutil.rmtree(applied / "root/home")
    (applied / "root/home").write_text("a file")
    shutil.rmtree(applied / "root/mnt")
    (applied / "root/mnt").symlink_to("mnt")
    found = findings(applied, OWN, BASE)
    assert [(item.path, item.what) for item in found] == [
        ("/home/atlas/.profile", "missing"),
        ("/mnt/longhorn", "unreadable"),
    ]


def test_what_is_needed_and_not_there_is_missing(applied: Path) -> None:
    needed = [*OWN, Needs("/usr/sbin/netplan", "netplan.io")]
    expected = ("/usr/sbin/netplan", "missing", "what the package netplan.io brings", "nothing")
    assert said(findings(applied, needed, BASE)) == [expected]


def test_what_is_optional_and_not_there_is_lacking(applied: Path) -> None:
    expected = ("/opt/k3s", "lacking", "what the package k3s brings", "nothing")
    assert said(findings(applied, [*OWN, Needs("/opt/k3s", "k3s", optional=True)], BASE)) == [expected]


def test_a_directory_is_as_immutable_as_it_is_wanted(applied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [*OWN, Directory("/mnt/scratch", immutable=True)]
    (applied / "root/mnt/scratch").mkdir(mode=0o755)
    monkeypatch.setattr(FolderTree, "is_immutable", lambda _, path: path == "/mnt/longhorn")
    assert said(findings(applied, held, BASE)) == [
        ("/mnt/longhorn", "immutable", "no", "yes"),
        ("/mnt/scratch", "immutable", "yes", "no"),
    ]


def test_an_owner_that_the_image_does_not_know_is_a_difference(applied: Path) -> None:
    (applied / "root/etc/group").write_text("root:x:0:\n")
    found = findings(applied, OWN, BASE)
    assert {item.what for item in found} == {"group"}
    assert found[0].expected == "atlas, whom the image does not know"


# ---------------------------------------------------------------------------------- both manifests at once


@pytest.mark.parametrize(
    ("base", "own"),
    [
        ([File("/etc/x", (Text("class"),))], [File("/etc/x", (Text("node"),), 0o600)]),
        ([File("/etc/x", (Text("class"),))], [Remove("/etc/x")]),
        ([File("/etc/d/x", (Text("class"),))], [Remove("/etc/d")]),
        ([File("/etc/d/x", (Text("class"),))], [Remove("/etc/d"), File("/etc/d/y", ())]),
        ([Directory("/etc/d", 0o700)], [Remove("/etc/d"), File("/etc/d/y", ())]),
        ([Remove("/etc/hosts")], [File("/etc/hosts", ())]),
        ([File("/lib/x", (Text("class"),))], [File("/usr/lib/x", (Text("node"),))]),
        ([File("/etc/hosts", (Text("::1\tme\n"),))], [Edit("/etc/hosts", "hosts", (("names", "n"),))]),
        (
            [File("/current/cmdline", (Text(""),))],
            [Edit("/cmdline", "hosts", (("names", "n"),), preferred="/current/cmdline")],
        ),
    ],
    ids=[
        "a file over a file",
        "a removal of a file",
        "a removal of what it is in",
        "a removed folder that is filled again",
        "a removed folder that is made anew",
        "a file for what was removed",
        "two names of one place",
        "an edit of a file",
        "an edit of a preferred file",
    ],
)
def test_the_nodes_entry_counts_where_the_class_has_one_too(
    image: Path, base: list[Entry], own: list[Entry]
) -> None:
    own = [*own, Remove("/etc/netplan"), Remove("/user-data", side="boot")]
    put_in(image, base)
    put_in(image, own)
    assert findings(image, own, base) == []


def test_what_stays_in_a_removed_folder_is_extra_though_it_is_filled_again(image: Path) -> None:
    own: list[Entry] = [Remove("/srv"), File("/srv/a/wanted", ())]
    for name in ("a/wanted", "a/old", "b/old"):
        write(f"root/srv/{name}", "")(image)
    found = [(item.path, item.what) for item in findings(image, own) if item.path.startswith("/srv")]
    assert found == [("/srv/a/old", "extra"), ("/srv/b/old", "extra")]


def test_a_removed_folder_that_the_class_filled_and_the_node_emptied_is_no_difference(image: Path) -> None:
    base: list[Entry] = [Remove("/srv"), File("/srv/a", ())]
    own: list[Entry] = [Remove("/srv/a"), Remove("/etc/netplan"), Remove("/user-data", side="boot")]
    put_in(image, base)
    put_in(image, own)
    assert findings(image, own, base) == []


# -------------------------------------------------------------------------------------- what is written later

ROOM = File("/etc/metis/burn.json", (Reserved(4096),))
WITH_ROOM = (*OWN, ROOM)


def test_room_is_blank_until_it_is_written_and_then_counts_as_it_is(image: Path) -> None:
    put_in(image, WITH_ROOM)
    written = (image / "root/etc/metis/burn.json").read_bytes()
    assert written == b"{}" + b" " * 4093 + b"\n"
    assert findings(image, WITH_ROOM) == []
    write("root/etc/metis/burn.json", '{"node": "alpha"}'.ljust(4096))(image)
    assert findings(image, WITH_ROOM) == []


@pytest.mark.parametrize(
    ("text", "found"), [("", "0 bytes"), ("{}\n", "3 bytes"), (" " * 4097, "4097 bytes")]
)
def test_room_of_another_length_is_a_difference(image: Path, text: str, found: str) -> None:
    put_in(image, WITH_ROOM)
    write("root/etc/metis/burn.json", text)(image)
    assert said(findings(image, WITH_ROOM)) == [(ROOM.path, "content", "4096 bytes", found)]


def test_room_that_somebody_filled_with_much_more_is_not_read(image: Path) -> None:
    put_in(image, WITH_ROOM)
    os.truncate(image / "root/etc/metis/burn.json", 1 << 40)
    ((path, what, _, _),) = said(findings(image, WITH_ROOM))
    assert (path, what) == (ROOM.path, "unreadable")


# -------------------------------------------------------------------------------------------------- extras

EXTRAS = {
    "/etc/metis/node.json",
    "/usr/local/lib/metis/deep/er/script",
    "/etc/netplan/99-more.yaml",
    "/etc/NetworkManager/system-connections/dhcp.nmconnection",
    "/etc/rancher/k3s/config.yaml.d/10-more.yaml",
    "/etc/rancher/node/password",
    "/etc/ssh/ssh_host_dsa_key",
    "/etc/sudoers.d/metis-root",
    "/etc/systemd/journald.conf.d/50-metis.conf",
    "/etc/systemd/system/k3s-agent.service",
    "/etc/systemd/system/k3s.service.d/override.conf",
    "/etc/systemd/system/metis-verify.service",
    "/etc/systemd/system/timers.target.wants/metis-old.timer",
    "/etc/systemd/system/multi-user.target.wants/k3s-agent.service",
    "/var/lib/cloud/seed/nocloud/user-data",
}


@pytest.mark.parametrize("path", sorted(EXTRAS))
def test_a_stray_where_only_metis_decides_is_extra(applied: Path, path: str) -> None:
    write(f"root{path}", "stray")(applied)
    (found,) = findings(applied, OWN, BASE)
    assert (found.path, found.what, found.found) == (path, "extra", "file")
    assert found.expected.startswith("nothing: ")


@pytest.mark.parametrize(
    ("side", "pattern"), [(side, pattern) for side in STRAYS for pattern in STRAYS[side]]
)
def test_a_stray_beneath_each_owned_place_is_extra(applied: Path, side: Side, pattern: str) -> None:
    place = f"{pattern.replace('*', 'x')}/stray"
    write(f"{side}{place}", "stray")(applied)
    reasons = {item.expected for item in findings(applied, OWN, BASE) if item.path == place}
    assert f"nothing: {STRAYS[side][pattern]}" in reasons


@pytest.mark.parametrize(
    "path",
    [
        "/etc/systemd/system/other.service",
        "/etc/ssh/sshd_config",
        "/etc/sudoers.d/atlas",
        "/etc/systemd/system/metis",
        "/root/metis-notes",
    ],
)
def test_what_others_may_have_is_no_stray(applied: Path, path: str) -> None:
    write(f"root{path}", "theirs")(applied)
    assert findings(applied, OWN, BASE) == []


def test_links_are_strays_too_and_empty_folders_are_none(applied: Path) -> None:
    (applied / "root/etc/ssh").mkdir()
    (applied / "root/etc/ssh/ssh_host_ed25519_key").symlink_to("/dev/null")
    (applied / "root/etc/metis/empty/er").mkdir(parents=True)
    assert said(findings(applied, OWN, BASE)) == [
        (
            "/etc/ssh/ssh_host_ed25519_key",
            "extra",
            "nothing: sshd would show it as the node's key",
            "symlink",
        )
    ]


def test_strays_behind_a_link_are_found_where_they_are(applied: Path) -> None:
    write("root/opt/lib/metis/stray", "stray")(applied)
    (applied / "root/usr/local/lib").symlink_to("/opt/lib")
    assert [item.path for item in findings(applied, OWN, BASE)] == ["/opt/lib/metis/stray"]


# ------------------------------------------------------------------------------- what nobody can compare


def test_without_its_secrets_a_file_is_compared_but_for_its_content(applied: Path) -> None:
    def unreachable(_: SecretRef) -> bytes:
        raise SourceError("Vault did not answer", "check VAULT_ADDR")

    write("root/etc/rancher/k3s/join-token", "K10-old\n")(applied)
    (applied / "root/etc/rancher/k3s/join-token").chmod(0o644)
    found = findings(applied, OWN, BASE, Sources(open_blob, unreachable, {}))
    why = "Vault did not answer: check VAULT_ADDR"
    assert said(found) == [
        ("/etc/rancher/k3s/join-token", "mode", "0600", "0644"),
        ("/etc/rancher/k3s/join-token", "not compared", "its content", why),
    ]


def test_an_edit_is_not_compared_where_its_argument_cannot_be_had(applied: Path) -> None:
    own = [*OWN, Edit("/etc/fstab", "hosts", (("names", ImageFact("boot_partuuid")),))]
    write("root/etc/fstab", "")(applied)
    assert said(findings(applied, own, BASE)) == [
        (
            "/etc/fstab",
            "not compared",
            "the edit `hosts`",
            "the image has no boot_partuuid: it lacks the partition for it",
        )
    ]


def test_a_fetched_file_is_compared_by_its_hash_alone(applied: Path) -> None:
    def gone(_: Blob) -> BinaryIO:
        raise MetisError("not in the cache any more")

    assert findings(applied, OWN, BASE, Sources(gone, reveal, {})) == []
    joined: list[Entry] = [File("/etc/joined", (Blob(BLOB_SHA256, "k3s"), Text("\n")))]
    write("root/etc/joined", "")(applied)
    (found,) = findings(applied, [*OWN, *joined], BASE, Sources(gone, reveal, {}))
    assert (found.what, found.found) == ("not compared", "not in the cache any more")


def test_no_finding_tells_a_secret_or_its_hash(applied: Path) -> None:
    write("root/etc/rancher/k3s/join-token", "K10-old\n")(applied)
    told = repr(findings(applied, OWN, BASE))
    for content in (TOKEN, TOKEN + b"\n", b"K10-old\n"):
        assert content.decode().strip() not in told
        assert hashlib.sha256(content).hexdigest() not in told


# ------------------------------------------------------------------------------------------- the verdict


def test_a_verdict_without_findings_is_one_line() -> None:
    verdict = Verdict("alpha", Path("alpha.img"), 12, [])
    assert verdict.to_text() == "alpha: alpha.img (12 entries, differences: 0)"
    assert verdict.to_data() == {
        "node": "alpha",
        "image": "alpha.img",
        "entries": 12,
        "differences": [],
        "not_compared": [],
        "lacking": [],
    }


DIFFERENT = Finding("root", "/etc/issue", "mode", "0644", "0600")
UNKNOWN = Finding("root", "/etc/machine-id", "not compared", "its content", "the secrets cannot be read")
LACKING = Finding("root", "/usr/local/bin/k3s", "lacking", "what the package k3s brings", "nothing")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], None),
        ([DIFFERENT], 4),
        ([DIFFERENT, UNKNOWN], 4),
        ([UNKNOWN], 5),
        ([LACKING], None),
        ([DIFFERENT, LACKING], 4),
    ],
    ids=["clean", "different", "different and unknown", "unknown", "lacking", "different and lacking"],
)
def test_only_an_image_that_was_compared_as_a_whole_passes(found: list[Finding], code: int | None) -> None:
    error = Verdict("alpha", Path("alpha.img"), 12, found).error
    assert (error and error.exit_code) == code


def test_a_verdict_is_a_table_that_no_name_in_an_image_can_break() -> None:
    found = [
        Finding("root", "/etc/netplan/a\nb\x1b[2J\udcff", "extra", "nothing", "file"),
        Finding("boot", "/config.txt", "not compared", "its content", "why"),
    ]
    verdict = Verdict("alpha", Path("alpha.img"), 12, found)
    assert verdict.to_text().splitlines() == [
        "alpha: alpha.img (12 entries, differences: 1, not compared: 1)",
        "  path                           what          expected     found",
        "  /etc/netplan/a b\\x1b[2J\\udcff  extra         nothing      file",
        "  boot:/config.txt               not compared  its content  why",
    ]
    assert [item["what"] for item in verdict.to_data()["differences"]] == ["extra"]
    assert [item["what"] for item in verdict.to_data()["not_compared"]] == ["not compared"]


def test_a_verdict_says_what_an_image_lacks() -> None:
    verdict = Verdict("alpha", Path("alpha.img"), 12, [LACKING])
    first, _, last = verdict.to_text().splitlines()
    assert first == "alpha: alpha.img (12 entries, differences: 0, lacking: 1)"
    assert last.split()[:2] == ["/usr/local/bin/k3s", "lacking"]
    assert [item["path"] for item in verdict.to_data()["lacking"]] == ["/usr/local/bin/k3s"]


# --------------------------------------------------------------------------------------------- property


def place(entry: Entry, folder: Path) -> str:
    """Where an entry leads to in an image as it is now."""
    with opened(folder) as found:
        paths = Paths(found.root)
        return paths.directory(entry.path) if isinstance(entry, Directory) else paths.of(entry.path)


def leads_to(entry: Entry, folder: Path) -> str | None:
    """The same after a tampering, which may have broken the links on the way: then nothing is there."""
    try:
        return place(entry, folder)
    except MetisError:
        return None


@contextmanager
def applied_to(nodes: Nodes, base: list[Entry], own: list[Entry]) -> Iterator[Path]:
    """The folder of an image that took both manifests, and whose entries lead where they led before.

    Where one entry puts a link into the way of another, the node really has a difference.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "root").mkdir()
        plant(folder / "root", nodes)
        places: list[tuple[Entry, str]] = []
        try:
            for part in (base, own):
                places += [(entry, place(entry, folder)) for entry in part]
                put_in(folder, part)
            stayed = all(place(entry, folder) == before for entry, before in places)
        except MetisError:
            stayed = False
        assume(stayed)
        yield folder


examples = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


@examples
@given(trees(), ENTRIES, ENTRIES)
def test_what_was_applied_has_no_differences(nodes: Nodes, base: list[Entry], own: list[Entry]) -> None:
    with applied_to(nodes, base, own) as folder:
        assert findings(folder, own, base) == []


@examples
@given(trees(), ENTRIES, ENTRIES, st.data())
def test_one_tampering_is_always_found(
    nodes: Nodes, base: list[Entry], own: list[Entry], data: st.DataObject
) -> None:
    assume(own)
    with applied_to(nodes, base, own) as folder:
        entry = data.draw(st.sampled_from(own))
        path = place(entry, folder)
        target = folder / "root" / path.lstrip("/")
        if isinstance(entry, Remove):
            assume(not target.exists() and not target.is_symlink())
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            assume(leads_to(entry, folder) == path)
        else:
            data.draw(st.sampled_from(TAMPERINGS[type(entry)]))(target)
        assert findings(folder, own, base) != []


def is_directory(target: Path) -> bool:
    return target.is_dir() and not target.is_symlink()


def gone(target: Path) -> None:
    remove = shutil.rmtree if is_directory(target) else Path.unlink
    remove(target)


def another_kind(target: Path) -> None:
    make = Path.touch if is_directory(target) else Path.mkdir
    gone(target)
    make(target)


def retargeted(target: Path) -> None:
    gone(target)
    target.symlink_to("elsewhere")


TAMPERINGS: dict[type[Entry], list[Callable[[Path], object]]] = {
    File: [
        gone,
        another_kind,
        retargeted,
        lambda target: target.chmod(0o666),
        lambda target: target.write_text("other"),
        lambda target: os.chown(target, 7, -1),
    ],
    Directory: [
        gone,
        another_kind,
        lambda target: target.chmod(0o777),
        lambda target: os.chown(target, -1, 7),
    ],
    Symlink: [gone, another_kind, retargeted],
}
