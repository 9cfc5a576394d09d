"""What the API gives of classes, as models that its document is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import Path
from pydantic import Field

from ..facts.finding import Severity
from .api_models import ImageState, Model
from .board import Board
from .pages.classes import Class, Runs

ClassPath = Annotated[
    str, Path(min_length=1, max_length=253, description="A class's name", examples=["rpi4-armbian"])
]


class Klass(Model):
    """A class: how its nodes' images are, and how they drift. `versions` are what more than half run."""

    name: str
    nodes: int
    images: dict[ImageState, int]
    drift: dict[Severity, int]
    silent: int
    versions: dict[str, str | None]

    @classmethod
    def of(cls, found: Class, board: Board) -> Klass:
        """A class as a board has it."""
        return cls.model_validate(
            {
                "name": found.name,
                "nodes": len(found.nodes),
                "images": {state: len(nodes) for state, nodes in found.images.items()},
                "drift": board.classes.get(found.name, {}).get("drift", {}),
                "silent": sum(board.rows[node].is_silent for node in found.nodes),
                "versions": {each.what: each.most for each in found.versions},
            }
        )


class Running(Model):
    """Which version of something most nodes have, null without such a one, and which nodes another."""

    what: str = Field(examples=["kernel"])
    most: str | None
    nodes: int = Field(description="how many say what they have")
    others: dict[str, list[str]] = Field(description="nodes by their version")

    @classmethod
    def all(cls, found: Iterable[Runs]) -> list[Running]:
        """All of them."""
        return [
            cls(
                what=each.what,
                most=each.most,
                nodes=each.nodes,
                others={version: list(nodes) for version, nodes in each.others},
            )
            for each in found
        ]


class KlassInFull(Model):
    """A class with what its nodes run; `heard` is how many have said it."""

    name: str
    images: dict[ImageState, list[str]]
    heard: int
    drift: dict[Severity, int]
    versions: list[Running]
    packages: list[Running] = Field(description="those that are watched, or differ")
    failed_units: dict[str, list[str]] = Field(description="by node")

    @classmethod
    def of(cls, found: Class) -> KlassInFull:
        """A class as a board has it."""
        return cls.model_validate(
            {
                "name": found.name,
                "images": {state: list(nodes) for state, nodes in found.images.items()},
                "heard": found.heard,
                "drift": dict(found.drift),
                "versions": Running.all(found.versions),
                "packages": Running.all(found.packages),
                "failed_units": {node: list(units) for node, units in found.failed_units},
            }
        )


class Target(Model):
    """A version that the inventory wants, and the file and line that say so."""

    of: str = Field(examples=["kernel"])
    version: str
    origin: str


class Recommended(Model):
    """A patch of the classes' files, empty where there is nothing to recommend."""

    patch: str
    complaints: list[str] = Field(description="what could not be told, a line each")
