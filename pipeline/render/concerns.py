"""All concerns of a node, in the order in which they are shown. A new one is a module and a line here.

What the schemas cannot see, as a class may give one half and a node the other, each concern checks in the
merged values.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import InventoryError, Problem
from ..model import ResolvedNode
from . import (
    access,
    boot,
    cloud_init,
    identity,
    k3s,
    k3s_lints,
    logs,
    network,
    network_lints,
    quirks,
    storage,
)
from .concern import Concern

CONCERNS: Mapping[str, Concern] = {
    "identity": Concern(identity.render, identity.check, identity.OWNED),
    "network": Concern(network.render, network_lints.check, network.OWNED),
    "access": Concern(access.render, access.check, access.OWNED),
    "k3s": Concern(k3s.render, k3s_lints.check, k3s.OWNED),
    "storage": Concern(storage.render, storage.check, storage.OWNED),
    "logs": Concern(logs.render, logs.check, logs.OWNED),
    "boot": Concern(boot.render, boot.check, boot.OWNED),
    "cloud_init": Concern(cloud_init.render, owned=cloud_init.OWNED),
    "quirks": Concern(quirks.render),
}


def checked(node: ResolvedNode) -> ResolvedNode:
    """The node, if no concern finds a fault; raises InventoryError with all of them, in their places."""
    faults = [fault for concern in CONCERNS.values() for fault in concern.check(node)]
    if faults:
        origins = [node.origin(path) for path, _ in faults]
        places = zip(origins, faults, strict=True)
        raise InventoryError(Problem(origin.file, origin.line, *fault) for origin, fault in places)
    return node
