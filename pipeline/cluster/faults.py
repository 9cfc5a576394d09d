"""What may go wrong between us and the API of a cluster, in our words: an error's own may hold a header."""

from __future__ import annotations

from ..errors import SourceError

_NOT_KNOWN = "whether it was done is not known: look again"


class UnreachableError(SourceError):
    """Nobody answers, or who does has no time or a fault: it may pass."""


def unreachable(name: str, about: str, why: str) -> UnreachableError:
    """The error for a server that gave no answer; `about` is what was asked, as GET /api/v1/nodes."""
    hint = "see that it runs, and check KUBECONFIG" if about.startswith("GET ") else _NOT_KNOWN
    return UnreachableError(f"{name} cannot be asked for {about}: {why}", hint)


def strange(name: str, about: str) -> SourceError:
    """The error for an answer that Kubernetes would not give."""
    what = f"{name} gave an answer to {about} that is none of Kubernetes'"
    return SourceError(what, "see that KUBECONFIG names an API server")


def too_large(name: str, about: str, limit: int) -> SourceError:
    """The error for an answer of more than so many bytes."""
    what = f"{name} answers {about} with more than {limit >> 20} MiB"
    return SourceError(what, "see that KUBECONFIG names an API server")


def explained(error: Exception, name: str, about: str) -> SourceError:
    """What went wrong on the way: an UnreachableError where it may pass."""
    from urllib3 import exceptions

    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        hint = "see certificate-authority in KUBECONFIG, and check the server's name and the clock"
        return SourceError(f"the certificate of {name} cannot be verified", hint)
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (exceptions.NameResolutionError, "its name cannot be resolved"),
        (exceptions.NewConnectionError, "nothing answers there"),
        (exceptions.ProxyError, "the proxy does not let us"),
        (exceptions.SSLError, "it does not speak TLS with us"),
        (exceptions.TimeoutError, "it did not answer in time"),
        (exceptions.ProtocolError, "the connection was cut"),
        (OSError, "the connection was cut"),
    )
    why = next((why for kind, why in kinds if isinstance(error, kind)), "")
    if not why:
        return SourceError(f"{name} cannot be asked: its address cannot be used", "check KUBECONFIG")
    return unreachable(name, about, why)
