"""What the API gives of exports, as models that its document is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from ..history.exports import Export
from .api_models import Model, Time
from .imager import Link
from .imager_list import WARNING


class ExportInFull(Model):
    """A packed image of a node, for one download; sizes in bytes, hashes SHA-256."""

    id: str = Field(examples=["5f1d7a84db5f2b6c"])
    node: str = Field(examples=["titan-13"])
    klass: str = Field(alias="class", examples=["rpi4-armbian"])
    arch: str
    image: str = Field(description="id of the image that is in it")
    by: str = Field(description="who asked for it")
    made_at: Time
    expires_at: Time
    size: int
    sha256: str
    raw_size: int = Field(description="bytes of the image as it is written to a card")
    raw_sha256: str
    downloads: int = Field(description="how often its first byte was sent")
    state: Literal["open", "used", "revoked", "expired"] = Field(description="open, or why it is over")
    ended_at: Time | None

    @classmethod
    def of(cls, export: Export, now: datetime) -> ExportInFull:
        """An export as it is kept."""
        data = export.to_data()
        del data["ended"]
        return cls.model_validate(data | {"state": export.state(now)})


class ExportPage(Model):
    """Exports, the newest first."""

    exports: list[ExportInFull]
    page: int
    has_more: bool


class LinkInFull(Model):
    """The addresses of an export: whoever has one has the image, with the node's secrets."""

    export: ExportInFull
    repository: str = Field(
        description="what Raspberry Pi Imager takes as its content repository",
        examples=["https://metis.example/imager/…/os_list.json"],
    )
    image: str = Field(
        description="the packed image", examples=["https://metis.example/imager/…/titan-13.img.zst"]
    )
    open: str = Field(description="what opens Imager with it", examples=["rpi-imager://open?repo=…"])
    warning: list[str] = Field(description="what to say to whoever gets it")

    @classmethod
    def of(cls, link: Link, now: datetime) -> LinkInFull:
        """A link that was just made."""
        return cls(
            export=ExportInFull.of(link.export, now),
            repository=link.repository,
            image=link.image,
            open=link.opens_imager,
            warning=list(WARNING),
        )
