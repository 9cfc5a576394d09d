"""What the API gives of the history, as models that its document is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from ..history import difference
from ..history.records import Build, Burn, Kind, Verdict
from ..history.rejoins import Rejoin
from .api_models import Model, Time


class EventInFull(Model):
    """Something that was done for a node or seen of it, and what came of that; see docs/history.md."""

    id: int
    kind: Kind
    at: Time = Field(description="when it began")
    node: str = Field(description="empty for a golden and a base, which are of a class")
    klass: str = Field(alias="class")
    verdict: Verdict
    seconds: float
    size: int = Field(description="bytes that the image maps, or that were written to the card")
    image: str = Field(description="id of the image, empty where none came to be")
    why: str
    code: int = Field(description="exit code of a failure")


class EventPage(Model):
    """Events, the newest first; those that follow have numbers below the last one's (`before`)."""

    events: list[EventInFull]
    has_more: bool


class RejoinInFull(Model):
    """A node on its way back into its cluster."""

    id: int
    node: str
    burned_at: Time | None = Field(description="when its card was burned; null where no receipt is here")
    seen_at: Time = Field(description="when the cluster had heard of it since")
    ready_at: Time | None = Field(description="since when it has been Ready, if it is")

    @classmethod
    def of(cls, number: int, found: Rejoin) -> RejoinInFull:
        """A rejoin as it is kept."""
        return cls.model_validate({"id": number, **asdict(found)})


class RejoinPage(Model):
    """Rejoins, the newest first; those that follow have numbers below the last one's (`before`)."""

    rejoins: list[RejoinInFull]
    has_more: bool


class Act(Model):
    """Who did what to which target, how it ended, and the address that it came from."""

    id: int
    at: Time
    who: str = Field(examples=["ada"])
    what: str = Field(examples=["POST /nodes/{node}/burn"])
    target: str = Field(examples=["node=titan-13"])
    outcome: str = Field(description="the status", examples=["303 See Other"])
    origin: str = Field(examples=["203.0.113.9"])


class ActPage(Model):
    """Lines of the audit, the newest first; those that follow have numbers below the last one's."""

    acts: list[Act]
    has_more: bool


class BuildInFull(Model):
    """A build; ids of manifests and the hash of the golden are empty where a failure came before."""

    event: EventInFull
    manifest: str
    base: str
    golden: str
    secrets: dict[str, str] = Field(description="where they came from, and which versions; never a value")
    metis: str = Field(description="the version that built")

    @classmethod
    def of(cls, build: Build) -> BuildInFull:
        """A build as it is kept."""
        return cls(
            event=EventInFull.model_validate(build.event.to_data()),
            manifest=build.manifest,
            base=build.base,
            golden=build.golden,
            secrets={name: str(word) for name, word in build.secrets.items()},
            metis=build.metis,
        )


class BurnInFull(Model):
    """A burn of one card, named as it was found then."""

    event: EventInFull
    path: str
    vendor: str
    model: str
    serial: str
    card_size: int = Field(description="bytes")
    skipped: int = Field(description="bytes that were there already")
    rewritten: int = Field(description="places that needed a second try")
    files: int | None = Field(description="files that were compared, null where none were")

    @classmethod
    def of(cls, burn: Burn) -> BurnInFull:
        """A burn as it is kept."""
        texts = {name: str(burn.card.get(name, "")) for name in ("path", "vendor", "model", "serial")}
        return cls(
            event=EventInFull.model_validate(burn.event.to_data()),
            card_size=int(burn.card.get("size", 0)),
            skipped=burn.skipped,
            rewritten=burn.rewritten,
            files=burn.files,
            **texts,
        )


class Other(Model):
    """A word that is another one."""

    name: str
    before: str
    after: str

    @classmethod
    def all(cls, found: Sequence[difference.Other]) -> list[Other]:
        """All of them."""
        return [cls(name=each.name, before=each.before, after=each.after) for each in found]


class Change(Model):
    """What is otherwise of one entry; `lines` are the difference of a text, as diff -u has it."""

    what: Literal["added", "removed", "changed"]
    kind: str
    on: str
    path: str
    layer: str
    others: list[Other]
    lines: list[str]

    @classmethod
    def all(cls, found: Sequence[difference.Change] | None) -> list[Change] | None:
        """All of them; None where nobody can tell."""
        if found is None:
            return None
        return [
            cls(
                what=each.what,
                kind=each.kind,
                on=each.on,
                path=each.path,
                layer=each.layer,
                others=Other.all(each.others),
                lines=list(each.lines),
            )
            for each in found
        ]


class Difference(Model):
    """What differs between two builds; null for entries of which nobody can tell."""

    before: BuildInFull
    after: BuildInFull
    made_of: list[Other]
    base: list[Change] | None
    image: list[Change] | None

    @classmethod
    def of(cls, found: difference.Difference) -> Difference:
        """A difference as it was found."""
        return cls(
            before=BuildInFull.of(found.before),
            after=BuildInFull.of(found.after),
            made_of=Other.all(found.made_of),
            base=Change.all(found.base),
            image=Change.all(found.image),
        )
