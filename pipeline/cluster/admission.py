"""Whether the cluster lets a node in by the token on the card, and whether it is that cluster. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..amounts import duration
from .check import Check, unsure
from .evidence import Evidence, Unseen
from .join_token import JoinToken, parse
from .port import BootstrapToken

TOKEN, CA = "token", "CA"
SOON = timedelta(hours=1)
_SERVER_FILES = "/var/lib/rancher/k3s/server"
_NEW_TOKEN = "make one with `k3s token create`, and put it with the secrets as k3s_token"  # noqa: S105


def admission(evidence: Evidence) -> tuple[Check, ...]:
    """Whether the token is still good, and whether it is of this cluster."""
    text = evidence.card.token
    if isinstance(text, Unseen):
        return (unsure(TOKEN, text),)
    if text is None:
        return (Check(TOKEN, "refused", "the secrets have no k3s_token", f"copy {_file(evidence)}"),)
    try:
        parts = parse(text)
    except ValueError:
        return (Check(TOKEN, "refused", "k3s_token is no token that k3s reads", f"copy {_file(evidence)}"),)
    return _accepted(evidence, parts), _of_this_cluster(evidence, parts)


def _file(evidence: Evidence) -> str:
    name = "token" if evidence.card.role == "server" else "agent-token"
    return f"{_SERVER_FILES}/{name} of a server that is up"


def _accepted(evidence: Evidence, parts: JoinToken) -> Check:
    if evidence.card.role == "server" and parts.user != "server":
        found = "no server's token, and a server joins with no other"
        return Check(TOKEN, "refused", found, f"copy {_file(evidence)}")
    if not parts.bootstrap_id:
        return Check(TOKEN, "ok", "one that does not expire")
    known = evidence.bootstrap
    if isinstance(known, Unseen):
        return unsure(TOKEN, known)
    fault = _fault(known, parts)
    if known is None or fault:
        return Check(TOKEN, "refused", f"a bootstrap token {fault}", _NEW_TOKEN)
    return _in_time(known.expires, evidence.now)


def _fault(known: BootstrapToken | None, parts: JoinToken) -> str:
    if known is None:
        return "that the cluster does not know any more"
    if not known.is_for_joining:
        return "that lets no node in"
    return "" if known.secret == parts.secret else "whose secret is another in the cluster"


def _in_time(expires: datetime | None, now: datetime) -> Check:
    if expires is None:
        return Check(TOKEN, "ok", "a bootstrap token that does not expire")
    left, when = expires - now, f"{expires:%Y-%m-%d %H:%M} UTC"
    if left <= timedelta():
        return Check(TOKEN, "refused", f"a bootstrap token that expired {when}", _NEW_TOKEN)
    found = f"a bootstrap token that expires {when}"
    if left > SOON:
        return Check(TOKEN, "ok", found)
    in_time = duration(left.total_seconds(), least=1)
    return Check(TOKEN, "ok", f"{found}, in {in_time}", "put the card in before, or make another")


def _of_this_cluster(evidence: Evidence, parts: JoinToken) -> Check:
    if not parts.ca_hash:
        found = "the token has no hash of the cluster's certificates, and would trust any server"
        return Check(CA, "refused", found, f"copy {_file(evidence)}")
    if isinstance(evidence.ca_hash, Unseen):
        return unsure(CA, evidence.ca_hash)
    if parts.ca_hash != evidence.ca_hash:
        found = "the token is of another cluster, or of certificates that this one had before"
        return Check(CA, "refused", found, f"copy {_file(evidence)}")
    return Check(CA, "ok", "the token is of this cluster")
