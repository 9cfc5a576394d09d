"""What the API takes and gives, as models that its document (OpenAPI) is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..facts.finding import Severity
from ..steps.image_state import State
from .board import Row
from .cards import Plugged
from .preflights import Preflight

Time = Annotated[str, Field(description="UTC, as ISO 8601 has it", examples=["2026-11-29T02:20:00+00:00"])]
NodeName = Annotated[
    str, Field(min_length=1, max_length=253, description="A node's name", examples=["titan-13"])
]
CardId = Annotated[
    str,
    Field(pattern="^[0-9a-f]{16}$", description="`id` of a card, from `GET /api/v1/cards`"),
    Field(examples=["9f86d081884c7d65"]),
]


class Model(BaseModel):
    """Strict both ways: nothing is converted, and what is not declared is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Problem(Model):
    """What went wrong (RFC 9457)."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(ge=400, le=599, examples=[404])
    detail: str = Field(examples=["the inventory has no node titan-99"])


# -------------------------------------------------------------------------------------------- the lab


class Node(Model):
    """A node at a glance."""

    node: NodeName
    klass: str = Field(alias="class", examples=["rpi4-armbian"])
    state: State = Field(description="how its image is")
    why: str = Field(description="why the image is stale")
    built: Time | None
    burned: Time | None = Field(description="its last burn that ended well")
    seen: Time | None = Field(description="when its sentinel was heard of last")
    is_silent: bool = Field(description="its sentinel has not been heard of for long")
    drift: dict[Severity, int] = Field(description="findings by severity")

    @classmethod
    def of(cls, row: Row) -> Node:
        """A row of the board."""
        return cls.model_validate(row.to_data())


class Finding(Model):
    """One way in which a node is not what it should be; see docs/facts.md."""

    node: NodeName
    kind: str = Field(examples=["kernel"])
    subject: str
    severity: Severity
    expected: str
    found: str
    advice: str


class NodeInFull(Node):
    """A node, and how it drifts."""

    findings: list[Finding]


class NodePage(Model):
    """Nodes by name. `at` is when they were looked at, null while they were not yet."""

    at: Time | None
    nodes: list[Node]
    page: int
    has_more: bool
    complaints: list[str] = Field(description="what could not be told, a line each")


class DriftPage(Model):
    """Findings by class and node. `strangers` are nodes that the inventory does not have."""

    at: Time | None
    findings: list[Finding]
    page: int
    has_more: bool
    strangers: list[str]


class DriftDay(Model):
    """How many findings of each severity there were in the end of a day, of today until now."""

    day: str = Field(description="in UTC", examples=["2026-11-29"])
    findings: dict[Severity, int]

    @classmethod
    def of(cls, day: datetime, counts: Mapping[Severity, int]) -> DriftDay:
        """A day as it was counted."""
        return cls(day=f"{day:%Y-%m-%d}", findings=dict(counts))


class Asked(Model):
    """One question to the cluster."""

    check: str = Field(examples=["etcd member"])
    verdict: str = Field(description="ok, refused, or unsure", examples=["ok"])
    found: str
    advice: str


class PreflightInFull(Model):
    """Whether a node would be let back into its cluster; see docs/cluster.md. No checks: it is in none."""

    node: NodeName
    refused: bool
    checks: list[Asked]

    @classmethod
    def of(cls, node: str, found: Preflight) -> PreflightInFull:
        """What the cluster said."""
        checks = [
            Asked(check=each.name, verdict=each.verdict, found=each.found, advice=each.advice)
            for each in found.checks
        ]
        return cls(node=node, refused=bool(found.refused), checks=checks)


class Step(Model):
    """A step of a build."""

    subject: str = Field(examples=["base of rpi4-armbian"])
    does: str = Field(examples=["keep"])
    detail: str


class PlanSecret(Model):
    """A secret that an image needs, and what there is of it; never its value."""

    name: str
    state: str
    detail: str


class Entry(Model):
    """An entry of a manifest; `layer` says what of the inventory it comes from."""

    kind: str = Field(examples=["file"])
    on: str = Field(description="the file system, root or boot")
    path: str
    mode: str = Field(examples=["0644"])
    owner: str
    group: str
    layer: str


class Plan(Model):
    """What a build would do, as `metis plan` says it. `base` and `image` are entries of manifests."""

    node: NodeName
    klass: str = Field(alias="class")
    steps: list[Step]
    secrets: list[PlanSecret]
    warnings: list[str] = Field(description="what only the golden can bring, and is built without")
    manifest: str = Field(description="id of the node's manifest")
    base: list[Entry]
    image: list[Entry]
    writes: list[str] = Field(description="files that the build leaves")


class Card(Model):
    """A card that is plugged into this host and could be burned."""

    id: CardId
    path: str = Field(examples=["/dev/sda"])
    kind: Literal["disk", "loop", "file"]
    size: int = Field(description="bytes")
    names: list[str] = Field(description="lasting names, /dev/disk/by-id")
    vendor: str
    model: str
    serial: str
    bus: str
    removable: bool
    content: str = Field(description="what is on it, in words")

    @classmethod
    def of(cls, found: Plugged) -> Card:
        """A card as it was found."""
        about = {name: getattr(found.card, name) for name in cls.model_fields if hasattr(found.card, name)}
        return cls(**about | {"id": found.id, "names": list(found.card.names), "content": found.content})


def findings(items: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Findings as `metis facts` gives them."""
    return [Finding.model_validate(item) for item in items]
