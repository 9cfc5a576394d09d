"""What the API takes and gives of jobs, as models that its document is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi.openapi.models import Example
from pydantic import Field

from ..history.jobs import Job, State
from .api_models import CardId, Model, NodeName, Time
from .journals import Told
from .kinds import SKIPS_PREFLIGHT
from .redaction import redacted


class WantedBuild(Model):
    """Have a node's image built."""

    kind: Literal["image"]
    node: NodeName


class WantedBurn(Model):
    """Have a node burned to a card, all of which is lost. The image is built first where it is stale."""

    kind: Literal["burn"]
    node: NodeName
    confirm: NodeName = Field(description="the node's name once more")
    card: CardId
    skips_preflight: bool = Field(
        default=False,
        description="for admins: the cluster is not asked first whether the node may come back",
    )


class WantedExport(Model):
    """Have a node's image packed for Raspberry Pi Imager; it is built first where it is stale."""

    kind: Literal["export"]
    node: NodeName


WantedJob = Annotated[WantedBuild | WantedBurn | WantedExport, Field(discriminator="kind")]
WANTED_EXAMPLES: dict[str, Example] = {
    "a build": {"value": {"kind": "image", "node": "titan-13"}},
    "a burn": {
        "value": {"kind": "burn", "node": "titan-13", "confirm": "titan-13", "card": "9f86d081884c7d65"}
    },
    "an export": {"value": {"kind": "export", "node": "titan-13"}},
}


class JobInFull(Model):
    """A job of the queue."""

    id: int
    kind: str = Field(
        description="image, burn or export; another Metis may have left jobs of other kinds",
        examples=["image"],
    )
    node: str
    card: str | None = Field(description="where the card of a burn is")
    skips_preflight: bool = Field(description="a burn before which the cluster is not asked")
    who: str = Field(description="who asked for it")
    state: State
    asked_at: Time
    begun_at: Time | None
    ended_at: Time | None
    code: int | None = Field(description="exit code of `metis`; null too for what was cut off")
    said: str = Field(description="its last line: what went wrong, or what came of it")
    stop: bool = Field(description="it was cancelled while it ran")

    @classmethod
    def of(cls, job: Job) -> JobInFull:
        """A job as it is kept."""
        data = job.to_data()
        options = data.pop("options")
        burn = {"card": options.get("card"), "skips_preflight": bool(options.get(SKIPS_PREFLIGHT))}
        return cls.model_validate(data | burn | {"said": redacted(job.said)})


class JobPage(Model):
    """Jobs, the newest first; those that follow have numbers below the last one's (`before`)."""

    jobs: list[JobInFull]
    has_more: bool


class LogStep(Model):
    """Something that goes on; sizes in bytes, `total` null where nobody knows."""

    label: str
    done: int
    total: int | None


class Log(Model):
    """What goes on in a job, and its last lines; what looks like a secret is masked."""

    steps: list[LogStep]
    notes: list[str]

    @classmethod
    def of(cls, told: Told) -> Log:
        """What a journal says."""
        steps = [LogStep(label=each.label, done=each.done, total=each.total) for each in told.steps]
        return cls(steps=steps, notes=list(told.notes))
