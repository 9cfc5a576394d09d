"""All concerns of a node, in the order in which they are shown. A new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import Concern
from . import access, boot, cloud_init, identity, k3s, k3s_lints, logs, network, quirks, storage

CONCERNS: Mapping[str, Concern] = {
    "identity": Concern(identity.render, identity.check),
    "network": Concern(network.render, network.check),
    "access": Concern(access.render, access.check),
    "k3s": Concern(k3s.render, k3s_lints.check),
    "storage": Concern(storage.render, storage.check),
    "logs": Concern(logs.render, logs.check),
    "boot": Concern(boot.render, boot.check),
    "cloud_init": Concern(cloud_init.render, cloud_init.check),
    "quirks": Concern(quirks.render, quirks.check),
}
