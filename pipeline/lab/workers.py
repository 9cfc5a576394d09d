"""A lab's bases and images, made by the workers of a scheduler.

All of a run's orders are carried out in one folder among the artifacts, which this process holds a lock on:
what a worker leaves there that dies, or is cut off, goes with it, and if this process dies, with the next
run. Workers give nothing the name of an artifact; that is done here, once for each, where the lock on the
artifacts is held.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MetisError, SourceError
from ..machine import durable
from ..manifest import blobs_of
from ..manifest_json import to_data
from ..model import CACHED, Manifest
from ..scheduler.client import Client
from ..scheduler.extra import distributed
from ..steps import receipts
from ..steps.ids import base_made_from, image_made_from
from ..steps.orders import PROBE, BaseOrder, Fit, ImageOrder, Order, Place
from . import worker

if TYPE_CHECKING:
    from ..golden.fetch import Fetched
    from ..scheduler.access import SchedulerAccess
    from ..steps.build import ImageToMake
    from ..steps.ids import BaseManifest
    from .lab import Lab


_OFTEN = 3
"""A worker that could not do what others could so many times is given nothing more: it is set up wrongly."""


class Workers:
    """Sends what is to be made to workers, and takes it from them (the port `makers.Maker`)."""

    def __init__(self, lab: Lab, access: SchedulerAccess) -> None:
        self._lab = lab
        self._access = access
        self._lock = threading.Lock()
        self._open: tuple[Client, Path] | None = None
        self._failings: Counter[str] = Counter()

    def make_base(self, golden: Fetched, wanted: BaseManifest, target: Path) -> None:
        """Have some worker make it; raises as `steps.build` does, and SourceError where no worker can."""
        with self._place(wanted.manifest) as place:
            order = BaseOrder(place, wanted.to_data(), golden.sha256, self._lab.size_limit)
            self._make(order, target, base_made_from(golden.sha256, wanted))

    def make_image(self, image: ImageToMake) -> None:
        """The same for an image."""
        manifest, secrets, wanted = image.manifest, image.secrets, image.wanted
        receipt = receipts.read(image.base)
        if receipt is None:
            raise MetisError(f"{image.base} has no receipt", "build the class's base first")
        read_back = [wanted.manifest] if wanted else []
        with self._place(manifest, *read_back) as place:
            order = ImageOrder(
                place,
                to_data(manifest),
                image.base,
                dict(secrets.used),
                dict(secrets.versions),
                wanted.to_data() if wanted else None,
            )
            self._make(order, image.target, image_made_from(manifest.id, receipt.id, secrets.used))

    # -------------------------------------------------------------------------------------- inside

    def _make(self, order: Order, target: Path, made_from: Mapping[str, Any]) -> None:
        """A worker that cannot carry this out may carry out others: what is wrong may be this order alone."""
        client, _ = self._opened
        unfit: dict[str, str] = {}
        while True:
            answer = client.call(worker.carry_out, order, target.stem, without=unfit)
            if not answer.is_unfit:
                break
            unfit[answer.worker] = answer.error
            self._lab.reporter.note(f"worker {answer.worker} does not make {target.stem}: {answer.error}")
        if answer.made is None:
            raise answer.failure
        lab = self._lab
        receipts.adopt(answer.made, target, made_from, lab.reporter, deep=lab.settings.deep)
        self._count(unfit, client)

    def _count(self, unfit: Mapping[str, str], client: Client) -> None:
        """Remember who could not do what another one could, and give nothing more to who could not often."""
        for name, why in unfit.items():
            with self._lock:
                self._failings[name] += 1
                is_often = self._failings[name] >= _OFTEN
            if is_often:
                with suppress(SourceError):  # the scheduler is lost, and what was made is here
                    client.refuse(name, why)

    @contextmanager
    def _place(self, manifest: Manifest, *others: Manifest) -> Iterator[Place]:
        """Where one thing is made; all of it is gone afterwards, also what other tries have left."""
        lab, (_, run) = self._lab, self._opened
        folder = run / f"{manifest.subject}-{uuid.uuid4().hex}"
        place = Place(run, folder, lab.store.root, lab.artifacts.state)
        for each in (manifest, *others):
            self._offer(each, place.blobs)
        folder.mkdir(mode=0o700)
        try:
            yield place
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _offer(self, manifest: Manifest, blobs: Path) -> None:
        """Put what only the inventory has where workers find it by its hash."""
        for blob in blobs_of(manifest):
            file = blobs / blob.sha256
            if blob.source.startswith(CACHED) or file.exists():
                continue
            with self._lab.open_blob(blob) as content, durable.replacing(file) as part:
                part.touch(mode=0o600)
                with part.open("wb") as copy:
                    shutil.copyfileobj(content, copy)

    @property
    def _opened(self) -> tuple[Client, Path]:
        """The connection and the run's folder, made when they are first needed."""
        with self._lock:
            if self._open is None:
                # Last in, first out: what was sent is cancelled before the folder goes.
                held, root = self._lab.until_walked, durable.make_private(self._lab.artifacts.root)
                held.callback(self._forget)
                shared = held.enter_context(durable.own_folder(root, "workers", self._lab.reporter.note))
                client = Client(self._access, self._vetting(shared), self._lab.reporter)
                held.callback(client.close)
                self._open = client, shared
            return self._open

    def _forget(self) -> None:
        self._open = None

    def _vetting(self, shared: Path) -> Callable[[], str]:
        """What a worker runs to say whether it fits: it must be like us, and see the folder as we do."""
        fit = Fit.here(version("metis"), distributed().__version__, self._lab.settings.injector)
        mark = uuid.uuid4().bytes
        (shared / PROBE).write_bytes(mark)
        return partial(worker.unfit, fit, shared, hashlib.sha256(mark).hexdigest())
