"""How a cluster's API is reached: by the files of KUBECONFIG, or by the account of the pod that we are in.

The files mean what they mean to `kubectl`
(kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig), and what we would do otherwise
than it is refused. Nothing of what is in them is repeated in errors: it may be a token.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from ..errors import RefusedError, UsageError, reason_of
from ..machine.loopback import is_loopback
from ..wording import shown

if TYPE_CHECKING:
    from kubernetes.client import Configuration

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token and the certificate of who vouches for the API."""
LARGEST = 1 << 20
"""Bytes of a file of KUBECONFIG."""
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_DATA = ("certificate-authority-data", "client-certificate-data", "client-key-data", "token")
_CLUSTER = {"server", "tls-server-name", "proxy-url", *_FILES[:1], *_DATA[:1]}
_USER = {*_FILES[1:], *_DATA[1:]}
_IGNORED = {"extensions", "insecure-skip-tls-verify", "disable-compression"}
_Map = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """A named entry of one of the files; relative paths in it count from that file's folder."""

    file: Path
    value: _Map


@dataclass(frozen=True, slots=True)
class Access:
    """How an API is reached: who asks, and by which certificates, both its and ours."""

    configuration: Configuration
    tls: ssl.SSLContext


def access(environment: Mapping[str, str], account: Path = ACCOUNT) -> Access | None:
    """How the cluster is reached that the environment means; None where it means none.

    No request is made. Raises UsageError for what cannot be used, and RefusedError for what would show the
    token to whoever listens.
    """
    if named := environment.get("KUBECONFIG"):
        return _by_files([Path(part).expanduser() for part in named.split(os.pathsep) if part])
    if environment.get("KUBERNETES_SERVICE_HOST") and (account / "token").is_file():
        return _by_account(environment, account)
    return None


def _by_account(environment: Mapping[str, str], account: Path) -> Access:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    made = Configuration()
    loader = InClusterConfigLoader(str(account / "token"), str(account / "ca.crt"), environ=environment)
    try:
        loader.load_and_set(made)
    except (ConfigException, OSError, ValueError):
        hint = f"see KUBERNETES_SERVICE_PORT, and ca.crt and token in {account}"
        raise UsageError("the account of this pod cannot be used", hint) from None
    return Access(made, _tls(made, f"{account}"))


def _by_files(files: list[Path]) -> Access:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config_from_dict

    read = [(file, document) for file in files if (document := _read(file)) is not None]
    if not read:
        what = f"KUBECONFIG names {', '.join(map(str, files)) or 'no file'}, and nothing is there"
        raise UsageError(what, "name the file of your cluster")
    cluster, user = _chosen(read)
    server = _cluster(cluster)
    words = {
        "current-context": "used",
        "contexts": [{"name": "used", "context": {"cluster": "used", "user": "used"}}],
        "clusters": [{"name": "used", "cluster": server}],
        "users": [{"name": "used", "user": _user(user)}],
    }
    made = Configuration()
    if is_loopback(urlsplit(server["server"]).hostname or ""):
        made.proxy = None  # as `kubectl`: net/http of Go asks no proxy for this machine itself
    # A key that is in the file itself is in one of its own while it is read, and no longer.
    with TemporaryDirectory() as folder:
        try:
            load_kube_config_from_dict(
                words, client_configuration=made, persist_config=False, temp_file_path=folder
            )
        except (ConfigException, OSError, ValueError):  # their texts may hold what is in the file
            what = "a file that it names is not there, or what it has as data is no base64"
            raise UsageError(f"{cluster.file} cannot be used: {what}", "write it anew") from None
        return Access(made, _tls(made, f"{cluster.file}"))


def _read(file: Path) -> _Map | None:
    """A file of KUBECONFIG; None where it is not there, as others may be."""
    import yaml

    try:
        with file.open("rb") as opened:
            data = opened.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{file}: {reason_of(error)}", "KUBECONFIG names files that we may read") from None
    try:
        value = yaml.safe_load(data) if len(data) <= LARGEST else None
    except (yaml.YAMLError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"{file} is no kubeconfig", "set KUBECONFIG to one, such as that of k3s")
    return value


# ---------------------------------------------------------------------------------- what is meant


def _chosen(documents: list[tuple[Path, _Map]]) -> tuple[_Part, _Part]:
    """The cluster and the user of the current context; of what several files name alike, the first counts."""
    for file, document in documents:
        if current := document.get("current-context"):
            context = _named(documents, "context", current, file)
            cluster = _named(documents, "cluster", context.value.get("cluster"), context.file)
            return cluster, _named(documents, "user", context.value.get("user"), context.file)
    raise UsageError(f"{documents[0][0]} has no current-context", "see `kubectl config use-context`")


def _named(documents: list[tuple[Path, _Map]], kind: str, name: object, file: Path) -> _Part:
    for place, entry in _entries(documents, f"{kind}s"):
        if entry.get("name") == name and isinstance(entry.get(kind), dict):
            return _Part(place, entry[kind])
    what = f"{file} means the {kind} {shown(name)}, which is not there"
    raise UsageError(what, "see `kubectl config view`")


def _entries(documents: list[tuple[Path, _Map]], key: str) -> Iterator[tuple[Path, _Map]]:
    for file, document in documents:
        entries = document.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UsageError(f"{file} is no kubeconfig: {key} is no list of maps", "write it anew")
        yield from ((file, entry) for entry in entries)


def _cluster(part: _Part) -> _Map:
    found = _texts(part, _CLUSTER, "cluster")
    address = _address(found.get("server", ""))
    if address is None:  # it is not repeated: a password may be in it
        hint = "give one such as https://192.0.2.5:6443"
        raise UsageError(f"{part.file} has no address of a server", hint)
    if address.scheme == "http" and not is_loopback(address.hostname or ""):
        what = f"{part.file} has a server without TLS: the token would cross the network in the clear"
        raise RefusedError(what, "use https")
    if part.value.get("insecure-skip-tls-verify"):
        what = f"{part.file} has insecure-skip-tls-verify: whoever answers would get the token"
        raise RefusedError(what, "name who vouches for the server in certificate-authority-data")
    return found


def _address(server: str) -> SplitResult | None:
    """The parts of a server's address; None where it is none, or has more than that."""
    try:
        parts = urlsplit(server)
        is_one = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return None
    has_more = "@" in parts.netloc or parts.query or parts.fragment or not server.isprintable()
    return parts if is_one and not has_more else None


def _user(part: _Part) -> _Map:
    found = _texts(part, _USER, "user")
    file = found.pop("tokenFile", "")
    if file and "token" not in found:
        try:
            with Path(file).open("rb") as opened:
                found["token"] = opened.read(LARGEST).decode("ascii").strip()
        except OSError as error:
            raise UsageError(f"{file}: {reason_of(error)}", f"{part.file} names it as tokenFile") from None
        except ValueError:
            raise UsageError(f"{file} has a token that is none", "write it anew") from None
    token = found.get("token", "")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{part.file} has a token that is none", "write it anew")
    return found


def _texts(part: _Part, known: set[str], kind: str) -> dict[str, str]:
    """The keys of an entry that we know, their paths made absolute; all are texts."""
    if strange := sorted(map(str, part.value.keys() - known - _IGNORED)):
        what = f"{part.file} has {shown(strange[0])} in its {kind}, which Metis does not do"
        hint = "give a token, or a certificate and its key: no programs, no passwords, no `as`"
        raise UsageError(what, hint)
    found = {key: part.value[key] for key in sorted(part.value.keys() & known) if part.value[key]}
    if wrong := [key for key, value in found.items() if not isinstance(value, str)]:
        raise UsageError(f"{part.file} is no kubeconfig: {wrong[0]} is no text", "write it anew")
    folder = part.file.parent.absolute()
    return {key: str(folder / value) if key in _FILES else value for key, value in found.items()}


def _tls(made: Configuration, where: str) -> ssl.SSLContext:
    """Whose certificates count, and our own; raises UsageError for certificates and keys that are none."""
    context = ssl.create_default_context()
    try:
        if made.ssl_ca_cert:
            context = ssl.create_default_context(cafile=made.ssl_ca_cert)
        if made.cert_file:
            # Where a password is given, if none, nobody is asked for that of a locked key.
            context.load_cert_chain(made.cert_file, made.key_file, password="")
    except (OSError, ValueError):  # also ssl.SSLError
        what = "certificates or a key that are none, do not belong together, or are locked"
        raise UsageError(f"{where} has {what}", "write it anew") from None
    made.ssl_ca_cert = made.cert_file = made.key_file = None  # they may be gone when they are looked for
    return context
