"""All concerns of a node, in the order in which they are shown. A new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import Renderer
from . import access, cloud_init, identity, k3s, network

CONCERNS: Mapping[str, Renderer] = {
    "identity": identity.render,
    "network": network.render,
    "access": access.render,
    "k3s": k3s.render,
    "cloud_init": cloud_init.render,
}
