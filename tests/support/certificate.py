"""A key and a certificate with which a server of a test speaks TLS."""

from __future__ import annotations

from pathlib import Path

from pipeline.machine import process


def make_certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file; the certificate alone is beside it (.crt)."""
    pem = folder / "server.pem"
    new = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=metis-test"
    process.run(
        [*new.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pem, "-out", f"{pem}.crt"]
    )
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    return pem


def make_client_certificate(folder: Path, user: str) -> tuple[Path, Path]:
    """A certificate that says that one is a user (its CN, as Kubernetes takes it), and its key."""
    certificate, key = folder / f"{user}.crt", folder / f"{user}.key"
    new = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={user}"
    process.run([*new.split(), "-keyout", key, "-out", certificate])
    return certificate, key
