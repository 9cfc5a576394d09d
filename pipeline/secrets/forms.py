"""What a secret becomes where it is put: each form checks the value and gives the bytes of the file.

A manifest names a form beside a secret (`SecretRef`). Errors name the secret and its node, and never show a
value. A new form is a function and a line in FORMS; that of passwords is in `password`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from ..errors import InventoryError, MetisError, as_one
from ..inventory.document import parse
from ..model import SecretRef
from ..render.user_data import merged
from ..secret import Secret
from . import quoting
from .given import Given
from .password import password_hash
from .ssh_keys import HalvesError, public_line

Form = Callable[[Given], bytes]


def reveal(ref: SecretRef, node: str, values: Mapping[str, Secret]) -> bytes:
    """What a reference stands for; raises MetisError, without the value, where it cannot be that."""
    if ref.form not in FORMS:
        raise MetisError(
            f"no form called {ref.form!r} is known", "run again, so that the manifest is made anew"
        )
    return FORMS[ref.form](Given(node, ref.name, values))


def reveal_all(refs: Iterable[SecretRef], node: str, values: Mapping[str, Secret]) -> dict[SecretRef, bytes]:
    """What each reference stands for; raises one error with all that cannot be."""
    revealed: dict[SecretRef, bytes] = {}
    errors: list[MetisError] = []
    for ref in refs:
        try:
            revealed[ref] = reveal(ref, node, values)
        except MetisError as error:
            errors.append(error)
    if errors:
        raise as_one(errors)
    return revealed


# ------------------------------------------------------------------------------------------ texts

_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_WORD = re.compile(r"[!-~]+")


def text(given: Given) -> bytes:
    """The value as it is; nothing where it is missing."""
    return given.text.encode() if given.is_there else b""


def line(given: Given) -> bytes:
    """The value as one line with its end."""
    return f"{_one_line(given)}\n".encode()


_WIFI_PASSWORD = re.compile(r"[ -~]{8,63}|[0-9A-Fa-f]{64}")


def wifi_quoted(given: Given) -> bytes:
    """The password of a wireless network as a double-quoted scalar of YAML.

    netplan that is given another one gives no interface an address, wired ones neither.
    """
    return quoting.quoted(_wifi_password(given)).encode()


def wifi_keyfile(given: Given) -> bytes:
    """The password of a wireless network in a GLib key file, as NetworkManager's connections are."""
    return quoting.keyfile(_wifi_password(given)).encode()


def _wifi_password(given: Given) -> str:
    """A passphrase, or the key itself (IEEE 802.11, J.4.1)."""
    value = given.text.removesuffix("\n")
    if not _WIFI_PASSWORD.fullmatch(value):
        raise given.unfit("the password of a wireless network: 8 to 63 characters of ASCII, or 64 hex digits")
    return value


def user_data(given: Given) -> bytes:
    """The user-data of cloud-init: what the secret says, if it is there, under what every node needs."""
    return merged(given.text if given.is_there else None, f"{given.name} of {given.node}").encode()


def _one_line(given: Given) -> str:
    value = given.text.removesuffix("\n")
    if not _LINE.fullmatch(value):
        raise given.unfit("one line of printable text")
    return value


def registries(given: Given) -> bytes:
    """`registries.yaml` of k3s (https://docs.k3s.io/installation/private-registry); nothing where missing.

    As it was written: a password such as 1e3 is a number for some readers of YAML, and would change.
    """
    if not given.is_there:
        return b""
    try:
        data = parse(given.text, given.name).data
    except InventoryError:
        data = {}
    parts = {"mirrors", "configs"}
    if not data or data.keys() - parts or not all(isinstance(value, dict) for value in data.values()):
        raise given.unfit("the YAML of a registries.yaml: maps called mirrors and configs")
    return (given.text.removesuffix("\n") + "\n").encode()


# --------------------------------------------------------------------------------------- identity

_MACHINE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_IQN = re.compile(r"iqn\.[0-9]{4}-(0[1-9]|1[0-2])\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[a-z0-9.:-]+)?")
_IQN_MAX = 223


def machine_id(given: Given) -> bytes:
    """machine-id(5): 32 lower-case hexadecimal digits, not all zero."""
    value = given.text.removesuffix("\n")
    if not _MACHINE_ID.fullmatch(value):
        raise given.unfit("a machine id of 32 lower-case hexadecimal digits", "see `systemd-id128 new`")
    return f"{value}\n".encode()


def node_password(given: Given) -> bytes:
    """`/etc/rancher/node/password`, which k3s sends in the header of a request: one word of plain ASCII."""
    value = given.text.removesuffix("\n")
    if not _WORD.fullmatch(value):
        raise given.unfit("one word of plain characters", "copy /etc/rancher/node/password of the old node")
    return f"{value}\n".encode()


def initiator_name(given: Given) -> bytes:
    """initiatorname.iscsi of open-iscsi, with an iqn name in lower case (RFC 3720, 3.2.6.3.1)."""
    value = given.text.removesuffix("\n")
    if not _IQN.fullmatch(value) or len(value) > _IQN_MAX:
        raise given.unfit(
            "an iSCSI name such as iqn.1993-08.org.debian:01:0123456789ab",
            "copy what follows InitiatorName= in /etc/iscsi/initiatorname.iscsi of the old node",
        )
    return f"InitiatorName={value}\n".encode()


def private_key(given: Given) -> bytes:
    """A host key for sshd(8), which reads no encrypted one and none without its last newline."""
    _public_line(given)
    return f"{given.text.strip()}\n".encode()


def public_key(given: Given) -> bytes:
    """The line of a `.pub` file that goes with a private key."""
    return f"{_public_line(given)} root@{given.node}\n".encode()


def _public_line(given: Given) -> str:
    try:
        return public_line(given.text)
    except HalvesError:
        fault = given.unfit("a private key that matches its own public half", "copy the whole file once more")
    except ValueError:
        fault = given.unfit(
            "a private key that sshd reads without a passphrase",
            "`ssh-keygen -p -N '' -f FILE` takes one off, and brings an older key into OpenSSH's format",
        )
    raise fault


# -------------------------------------------------------------------------------------------- k3s

_TOKEN = re.compile(r"K10[0-9a-f]{64}::([!-9;-~]+:[!-~]+|[a-z0-9]{6}\.[a-z0-9]{16})")
_SERVER_TOKEN = re.compile(r"K10[0-9a-f]{64}::server:[!-~]+")
_SERVER_FOLDER = "/var/lib/rancher/k3s/server"


def k3s_token(given: Given) -> bytes:
    """A k3s token in its long form, whose hash of the CA lets no other cluster pass for this one.

    Source: https://docs.k3s.io/cli/token.
    """
    return _token(given, _TOKEN, "K10<hash of the CA>::<credentials>", "agent-token")


def k3s_server_token(given: Given) -> bytes:
    """The token of a server: with an agent's or a bootstrap token no server joins."""
    return _token(given, _SERVER_TOKEN, "K10<hash of the CA>::server:<password>", "token")


def _token(given: Given, pattern: re.Pattern[str], expected: str, file: str) -> bytes:
    value = given.text.removesuffix("\n")
    if not pattern.fullmatch(value):
        raise given.unfit(
            f"a token of the form {expected}",
            f"copy {_SERVER_FOLDER}/{file} of a server that is up; a short one trusts any server",
        )
    return f"{value}\n".encode()


_ENDPOINT = re.compile(r"(postgres|postgresql|mysql|https?|nats)://[!-~]+")


def datastore_endpoint(given: Given) -> bytes:
    """The external datastore of a cluster as a double-quoted scalar of YAML.

    With none, or one of SQLite, the server would found a cluster of its own
    (https://docs.k3s.io/datastore).
    """
    value = given.text.removesuffix("\n")
    if not _ENDPOINT.fullmatch(value):
        raise given.unfit(
            "the address of a datastore that servers share, such as postgres://…",
            "copy datastore-endpoint of a server that is up",
        )
    return quoting.quoted(value).encode()


FORMS: Mapping[str, Form] = {
    "text": text,
    "line": line,
    "wifi-quoted": wifi_quoted,
    "wifi-keyfile": wifi_keyfile,
    "registries": registries,
    "user-data": user_data,
    "machine-id": machine_id,
    "node-password": node_password,
    "initiator-name": initiator_name,
    "private-key": private_key,
    "public-key": public_key,
    "k3s-token": k3s_token,
    "k3s-server-token": k3s_server_token,
    "datastore-endpoint": datastore_endpoint,
    "password-hash": password_hash,
}
