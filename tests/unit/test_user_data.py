"""cloud-init on a node: it reads our seed and no other, and nothing in it makes another node of this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.machine import process
from pipeline.model import File, SecretRef
from pipeline.render.cloud_init import OURS
from pipeline.render.concerns import CONCERNS
from pipeline.render.owned import REFUSED
from pipeline.render.user_data import merged
from pipeline.secret import Secret
from pipeline.secrets import forms
from tests.support.rendering import all_entries, node_of, program

GOOD = """#cloud-config
users:
  - {name: ops, lock_passwd: true, ssh_authorized_keys: [ssh-ed25519 AAAA ops]}
packages: [htop]
package_update: yes
write_files:
  - {path: /etc/motd, content: "hello: #1\\n", permissions: '0644'}
runcmd:
  - [systemctl, restart, ssh]
  - echo hosts
timezone: Europe/Vienna
"""


def of(text: str | None) -> dict[str, Any]:
    """What cloud-init reads of merged user-data."""
    made = merged(text)
    assert made.startswith("#cloud-config\n")
    found: dict[str, Any] = yaml.safe_load(made)
    return found


def refusal(text: str) -> str:
    with pytest.raises(MetisError) as caught:
        merged(text)
    assert caught.value.__context__ is None, "a traceback would show what was read"
    return str(caught.value)


# ------------------------------------------------------------------------------------ what is taken


def test_without_a_secret_there_is_only_ours() -> None:
    assert of(None) == dict(OURS)


@pytest.mark.parametrize(
    "text", ["#cloud-config", "#cloud-config\n\n# nothing yet\n", "#cloud-config\r\n\r\n"]
)
def test_user_data_that_say_nothing_add_nothing(text: str) -> None:
    assert of(text) == dict(OURS)


def test_what_harms_nobody_stays_as_cloud_init_reads_it() -> None:
    assert of(GOOD) == yaml.safe_load(GOOD) | dict(OURS)
    assert of(GOOD)["package_update"] is True


def test_what_says_the_same_as_ours_is_taken() -> None:
    same = yaml.safe_dump(dict(OURS))
    assert of(f"#cloud-config\n{same}") == dict(OURS)


@pytest.mark.parametrize("text", [None, GOOD], ids=["ours", "merged"])
def test_cloud_init_finds_nothing_wrong_with_it(tmp_path: Path, text: str | None) -> None:
    cloud_init = program("cloud-init", "cloud-init")
    file = tmp_path / "user-data"
    file.write_text(merged(text))
    said = process.run([cloud_init, "schema", "--config-file", file], check=False)
    assert b"Valid cloud-config" in said.out, said.out + said.err


# ----------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hostname: x\n",
        "\n#cloud-config\n",
        " #cloud-config\n",
        "\ufeff#cloud-config\n",
        "#cloud-config-archive\n- {type: text/x-shellscript}\n",
        "#cloud-boothook\n",
        "#!/bin/sh\nhostname x\n",
        "#include\nhttps://example.org/x\n",
        "## template: jinja\n#cloud-config\n",
        "Content-Type: multipart/mixed\n\n#cloud-config\n",
    ],
)
def test_only_a_cloud_config_is_taken(text: str) -> None:
    assert refusal(text).startswith("cloud_init does not begin with the line #cloud-config: ")


@pytest.mark.parametrize(
    "body",
    [
        "- a",
        "hunter2",
        "a: 1\na: 2",
        "a: [",
        "\ta: 1",
        "<<: {hostname: a}",
        "a: !!python/name:os.system",
        "a: &a [*a]",
        "a: 1\n---\nhostname: b",
        "yes: 1",
        "1: 2",
        "a: 2001-99-99",
        "a: =",
        "a: " + "[" * 5000,
        "a: " + "{a: " * 5000,
        "a: \x00",
    ],
)
def test_what_is_not_plain_is_refused_in_one_line(body: str) -> None:
    said = refusal(f"#cloud-config\n{body}\n")
    assert said.startswith("cloud_init is not the plain YAML of a cloud-config")
    assert "hunter2" not in said


def test_the_line_of_what_is_not_plain_is_told() -> None:
    assert "by line 3: " in refusal("#cloud-config\na: hunter2\na: hunter2\n")


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_a_key_that_would_undo_the_node_is_refused_with_a_reason(key: str) -> None:
    said = refusal(f"#cloud-config\n{key}: hunter2\n")
    assert f"take {key} out of it: " in said
    assert "hunter2" not in said


@pytest.mark.parametrize("key", sorted(OURS))
def test_another_value_for_what_is_ours_is_refused(key: str) -> None:
    said = refusal(f"#cloud-config\n{key}: hunter2\n")
    assert f"take {key} out of it: Metis sets it" in said
    assert "hunter2" not in said


OURS_TOO = (
    "/etc/default/k3s /etc/sysconfig/k3s-agent /etc/iscsi/initiatorname.iscsi /etc/sudoers.d/metis-atlas "
    "/etc/systemd/network/01.network /etc/network/interfaces /etc/gshadow /run/netplan/1.yaml "
    "/home/atlas/.ssh/authorized_keys /root/.ssh/authorized_keys /etc/systemd/journald.conf.d/50-metis.conf "
    "/etc/systemd/system/multi-user.target.wants/k3s.service /lib/systemd/system/k3s.service "
    "/etc/systemd/system/k3s.service.d/9.conf /etc/systemd/system/service.d/x.conf "
    "/etc/systemd/system/a/b/k3s.service /run/systemd/system/a/b/metis-disks.service"
).split()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("users: [default]", "make its users a list"),
        ("users: hunter2", "make its users a list"),
        ("users: {hunter2: {}}", "make its users a list"),
        ("users: [{gecos: hunter2}]", "make its users a list"),
        ("users: [{name: root, ssh_authorized_keys: [hunter2]}]", "take default and root out"),
        ("users: [{name: default}]", "take default and root out"),
        ("users: [{name: [hunter2]}]", "make its users a list"),
        ("runcmd: [hostnamectl set-hostname hunter2]", "out of its runcmd"),
        ("runcmd: [[sh, -c, 'curl -sfL https://get.k3s.io | sh -']]", "out of its runcmd"),
        ("runcmd: [[cloud-init, clean]]", "out of its runcmd"),
        ("runcmd: hunter2 > /etc/machine-id", "out of its runcmd"),
        ("bootcmd: [[rm, /etc/ssh/ssh_host_rsa_key]]", "out of its bootcmd"),
        ("bootcmd: [[mkfs.ext4, /dev/sda]]", "out of its bootcmd"),
        ("bootcmd: [reboot]", "out of its bootcmd"),
        ("write_files: hunter2", "make its write_files a list"),
        ("write_files: [{content: hunter2}]", "make its write_files a list"),
        ("write_files: [{path: /etc/hostname}]", "out of its write_files"),
        ("write_files: [{path: /etc/./../etc//machine-id}]", "out of its write_files"),
        ("write_files: [{path: //etc/rancher/k3s/config.yaml.d/9.yaml}]", "out of its write_files"),
        ("write_files: [{path: /etc/ssh/ssh_host_rsa_key.pub}]", "out of its write_files"),
        ("write_files: [{path: /etc/netplan/99.yaml}]", "out of its write_files"),
        ("write_files: [{path: etc/fstab}]", "out of its write_files"),
        *((f"write_files: [{{path: {path}}}]", "out of its write_files") for path in OURS_TOO),
        ("random_seed: {file: /etc/machine-id, data: hunter2}", "take random_seed out"),
    ],
)
def test_a_way_round_is_refused_too(body: str, said: str) -> None:
    found = refusal(f"#cloud-config\n{body}\n")
    assert said in found
    assert "hunter2" not in found


def test_everything_that_is_wrong_is_said_at_once() -> None:
    found = refusal("#cloud-config\nhostname: a\nswap: {size: 1}\nssh_deletekeys: true\n")
    assert all(f"take {key} out of it" in found for key in ("hostname", "swap", "ssh_deletekeys"))
    assert "\n" not in found


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
named = st.lists(st.dictionaries(st.sampled_from(["name", "path", "gecos"]), values, max_size=2), max_size=2)
known = st.sampled_from(sorted({*REFUSED, *OURS, "users", "runcmd", "bootcmd", "write_files", "packages"}))
configs = st.dictionaries(known | st.text(max_size=5), values | named, max_size=4)
texts = configs.map(lambda data: yaml.safe_dump(data, allow_unicode=True)) | st.text()


@given(texts)
def test_ours_always_stand_or_the_text_is_refused(text: str) -> None:
    try:
        found = of(f"#cloud-config\n{text}")
    except MetisError:
        return
    assert {key: found[key] for key in OURS} == dict(OURS)
    assert not found.keys() & REFUSED.keys()


# --------------------------------------------------------------------------- what cloud-init does with it

NODE = "class: pi\nhostname: atlas-13\nnetwork: {dhcp: true}\ncloud_init: seed\n"
IMAGE = """
users: [default]
preserve_hostname: false
manage_etc_hosts: true
datasource_list: [Ec2, NoCloud]
datasource: {NoCloud: {fs_label: system-boot, seedfrom: "file:///boot/firmware"}}
"""
READ = """
import json, sys
from cloudinit import helpers, util
from cloudinit.sources import DataSourceNoCloud as nocloud
root, asked = sys.argv[1], []
nocloud.util.find_devs_with = lambda *words, **_: asked.append(words) or []
config = util.read_conf_with_confd(f"{root}/etc/cloud/cloud.cfg")
paths = helpers.Paths({"cloud_dir": f"{root}/var/lib/cloud", "run_dir": f"{root}/run"})
source = nocloud.DataSourceNoCloud(config, None, paths)
print(json.dumps({
    "config": config,
    "found": source._get_data(),
    "seed": source.seed,
    "metadata": source.metadata,
    "userdata": util.decode_binary(source.userdata_raw),
    "disks": asked,
}))
"""


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """The root of a card as far as cloud-init looks, with an image's own settings of the last name."""
    folder = tmp_path / "etc/cloud/cloud.cfg.d"
    folder.mkdir(parents=True)
    (folder.parent / "cloud.cfg").write_text(IMAGE)
    (folder / "99-fake-cloud.cfg").write_text(IMAGE)
    for entry in all_entries(node_of(NODE)):
        if isinstance(entry, File) and "/cloud/" in entry.path:
            path = tmp_path / entry.path[1:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(map(_text, entry.content)))
    return tmp_path


def _text(piece: Any) -> str:
    if isinstance(piece, SecretRef):
        return forms.reveal(piece, "titan-13", {"cloud_init": Secret(GOOD)}).decode()
    return str(piece.text)


def test_cloud_init_reads_our_seed_our_settings_and_no_disk(card: Path) -> None:
    program("cloud-init", "cloud-init")
    said = json.loads(process.run(["/usr/bin/python3", "-c", READ, card]).out)
    assert said["found"] is True
    assert said["seed"] == f"{card}/var/lib/cloud/seed/nocloud"
    assert said["disks"] == []
    assert said["metadata"]["instance-id"] == "metis-titan-13"
    assert yaml.safe_load(said["userdata"])["packages"] == ["htop"]
    expected = {**OURS, "users": [], "ssh_genkeytypes": [], "manual_cache_clean": True}
    expected |= {"network": {"config": "disabled"}, "datasource_list": ["NoCloud", "None"]}
    assert {key: said["config"][key] for key in expected} == expected


def test_the_shell_script_that_picks_a_data_source_reads_the_list(card: Path) -> None:
    """ds-identify is no reader of YAML: a list over several lines would not be found."""
    program("cloud-init", "cloud-init")
    script = Path("/usr/lib/cloud-init/ds-identify")
    for folder in ("dev/disk", "proc/1", "sys/class/dmi/id"):
        (card / folder).mkdir(parents=True, exist_ok=True)
    (card / "proc/cmdline").write_text("root=LABEL=writable\n")
    (card / "proc/uptime").write_text("1.0 1.0\n")
    environment = {"PATH_ROOT": str(card), "DI_LOG": "stderr"}
    process.run([script], extra_environment=environment, check=False)
    made = yaml.safe_load((card / "run/cloud-init/cloud.cfg").read_text())
    assert made["datasource_list"] == ["NoCloud", "None"]


def test_the_seed_is_private_and_nothing_of_it_is_on_the_boot_partition() -> None:
    entries = CONCERNS["cloud_init"].render(node_of(NODE))
    files = [entry for entry in entries if isinstance(entry, File)]
    assert {entry.side for entry in files} == {"root"}
    private = {entry.path for entry in files if entry.mode == 0o600}
    assert private == {f"/var/lib/cloud/seed/nocloud/{name}" for name in ("meta-data", "user-data")}


def test_a_second_card_of_the_node_is_the_same_instance() -> None:
    def meta_data(text: str) -> str:
        entries = CONCERNS["cloud_init"].render(node_of(text))
        (found,) = [
            entry for entry in entries if entry.path.endswith("meta-data") and isinstance(entry, File)
        ]
        return "".join(map(_text, found.content))

    assert meta_data(NODE) == meta_data(NODE + "ssh: {user: atlas}\n")


def test_the_form_names_the_node_and_not_the_text() -> None:
    with pytest.raises(MetisError, match="cloud_init of titan-13 would undo") as caught:
        forms.reveal(
            SecretRef("cloud_init", "user-data", optional=True),
            "titan-13",
            {"cloud_init": Secret("#cloud-config\nhostname: hunter2\n")},
        )
    assert "hunter2" not in str(caught.value)
