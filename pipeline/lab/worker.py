"""What a worker does with what it is sent: the heavy steps, by its own injector and with its own secrets.

It needs no inventory, and makes no identity: what a node's image needs is there before it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from ..cache.store import Store
from ..errors import MetisError, RottenError, known
from ..golden.fetch import Fetched
from ..inject.tree import Injector
from ..machine import durable
from ..machine.journal import EventReporter
from ..machine.once import once
from ..machine.progress import Reporter
from ..manifest import secrets_of
from ..manifest_json import from_data
from ..model import CACHED, Blob, Manifest
from ..scheduler.events import TOPIC
from ..scheduler.extra import distributed
from ..scheduler.hosting import this_worker
from ..secrets.keyring import Keyring, Revealed
from ..secrets.source import SecretSource
from ..secrets.used import UsedSecrets
from ..steps import build, delivery, receipts, verify
from ..steps.ids import BaseManifest
from ..steps.orders import PROBE, Answer, BaseOrder, Fit, ImageOrder, Order, Place
from . import injectors
from .lab import Lab

_ROOM = 2
"""How many times what a base has mapped is kept free for each image, and for the base."""


class _UnfitError(MetisError):
    """This worker finds, only when it has an order, that it cannot carry that one out as it must be."""


@once
def own_lab() -> Lab:
    """What the worker's environment says: its injector, its cache and where its secrets are."""
    return Lab.from_environment(remembers=False)


@once
def _injector() -> Injector:
    """One for all orders of this process, which may then share an appliance."""
    return own_lab().injector()


@lru_cache(maxsize=1)
def _secret_source(run: Path) -> SecretSource:
    """Where this worker has its secrets, opened anew for each run: some sources remember what they read."""
    del run
    return Lab(own_lab().settings, remembers=False).secret_source


def unfit(wanted: Fit, run: Path, sha256: str) -> str:
    """Why this worker is none for a run: it is otherwise than `wanted`, or does not see the folder `run`.

    `sha256` is of what the run has put into a file there. Empty where it fits.
    """
    own = Fit.here(version("metis"), distributed().__version__, own_lab().settings.injector)
    if differences := own.differences(wanted):
        return differences
    try:
        found = hashlib.sha256((run / PROBE).read_bytes()).hexdigest()
    except OSError:
        found = ""
    if found != sha256 or not os.access(run, os.W_OK):
        return f"it does not share {run.parent}: mount it there by the same path, for the same user"
    return ""


@contextmanager
def at_work(store: Store, reporter: Reporter) -> Iterator[None]:
    """What this process keeps on its own disk while it is a worker: no image outlives it there.

    An order that is being carried out goes on when the process is told to end; what it makes goes first. What
    a kill of a worker with this cache has left goes when the next one begins.
    """
    if (place := _images(store)).exists():
        durable.remove_left(place, note=reporter.note)
    try:
        yield
    finally:
        own_lab().until_walked.close()


@once
def _own_place() -> Path:
    """Where this process makes images in its cache; gone with `at_work`."""
    lab = own_lab()
    folder = durable.own_folder(durable.make_private(_images(lab.store)), "worker", lab.reporter.note)
    return lab.until_walked.enter_context(folder)


def carry_out(number: str, order: Order) -> Answer:
    """Make what is asked for, and tell how it goes on; what fails is an answer too."""
    worker = this_worker()
    name = str(worker.name)

    def tell(event: object) -> None:
        worker.log_event(TOPIC, {"order": number, "worker": name, "event": event})

    folder = None
    try:
        folder = Path(tempfile.mkdtemp(dir=order.place.folder))
        return Answer(name, made=_made(order, folder, EventReporter(tell)))
    except (MetisError, OSError) as raised:
        error = known(raised)
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        return Answer(
            name,
            error="; ".join(str(error).splitlines()),
            exit_code=error.exit_code,
            is_unfit=isinstance(error, _UnfitError),
            is_rotten=isinstance(error, RottenError),
        )
    finally:
        _remove_ended(order.place.run)


def _remove_ended(run: Path) -> None:
    """Let nothing stay of a run that is over; one whose folder cannot be looked at may go on."""
    try:
        (run / PROBE).stat()
    except FileNotFoundError:
        shutil.rmtree(run, ignore_errors=True)
    except OSError:
        pass


def _made(order: Order, folder: Path, reporter: Reporter) -> Path:
    tools = build.Tools(
        _injector(),
        partial(_open_blob, order.place),
        reporter,
        injectors.second_of(_injector()),
    )
    match order:
        case BaseOrder():
            wanted = BaseManifest.from_data(order.wanted)
            target = folder / f"{wanted.manifest.subject}.img"
            _make_base(order, wanted, target, tools)
        case ImageOrder():
            manifest = from_data(order.manifest)
            target = folder / f"{manifest.subject}.img"
            _make_image(order, manifest, target, tools)
    return target


def _make_base(order: BaseOrder, wanted: BaseManifest, target: Path, tools: build.Tools) -> None:
    """Where a golden rotted in our own cache, the run may have a good one in its; it looks after that one."""
    own = own_lab().store
    while True:
        golden = Fetched(_cached(order.golden, order.place), order.golden)
        try:
            return build.make_base(golden, wanted, target, order.size_limit, tools)
        except RottenError:
            if own.root == order.place.cache or not golden.path.is_relative_to(own.root):
                raise
            own.remove(order.golden)


def _make_image(order: ImageOrder, manifest: Manifest, target: Path, tools: build.Tools) -> None:
    secrets = _secrets(order, manifest)
    wanted = BaseManifest.from_data(order.wanted) if order.wanted else None
    check = verify.check(wanted, manifest, secrets.reveal, tools) if wanted else None
    if not _has_own_disk(order):
        build.make_image(manifest, order.base, target, secrets, tools, check)
        return
    store = own_lab().store
    own_base = delivery.fetched(order.base, store, tools.reporter)
    with tempfile.TemporaryDirectory(dir=_own_place(), ignore_cleanup_errors=True) as folder:
        made = Path(folder, target.name)
        build.make_image(manifest, own_base, made, secrets, tools, check)
        delivery.deliver(made, own_base, order.base, target, tools.reporter)


def _images(store: Store) -> Path:
    """Where workers with a disk of their own make images."""
    return store.root / "images"


def _has_own_disk(order: ImageOrder) -> bool:
    """Whether this worker's cache is on another disk than the run's folder, with room enough for its orders.

    Otherwise images are made in the run's folder, as nothing would be saved.
    """
    receipt = receipts.read(order.base)
    try:
        place = durable.make_private(_images(own_lab().store))
        is_apart = place.stat().st_dev != order.place.folder.stat().st_dev
        free = shutil.disk_usage(place).free
    except OSError:  # a cache that we may only read
        return False
    at_once = this_worker().state.nthreads
    return is_apart and receipt is not None and free > (1 + at_once) * _ROOM * receipt.mapped


def _secrets(order: ImageOrder, manifest: Manifest) -> Revealed:
    """A node's secrets as this worker has them; raises _UnfitError where they are not those of the run."""
    node = manifest.subject
    keyring = Keyring(_secret_source(order.place.run), (), UsedSecrets(order.place.state, makes_key=False))
    try:
        found = keyring.revealed_as_they_are(node, secrets_of(manifest))
    except MetisError as error:
        raise _UnfitError(f"it has no secrets for {node}: {error}") from None
    if found.used != order.used:
        raise _UnfitError(
            f"its secrets of {node}, in {keyring.source.place(node)}, are not those of the run",
            "give it the same METIS_SECRETS, or run again where they were changed meanwhile",
        )
    return replace(found, versions=order.versions)


def _open_blob(place: Place, blob: Blob) -> BinaryIO:
    """The bytes of a blob, which the run has put there unless they are of the cache."""
    cached = blob.source.startswith(CACHED)
    file = _cached(blob.sha256, place) if cached else place.blobs / blob.sha256
    return file.open("rb")


def _cached(sha256: str, place: Place) -> Path:
    """A file of this worker's cache, else of the run's."""
    own = own_lab()
    for store in (own.store, Store(place.cache, own.reporter)):
        if found := store.find(sha256):
            return found
    raise _UnfitError(
        f"{sha256[:12]} is neither in its cache {own.store.root} nor in {place.cache}",
        "share the folder of the run's cache (METIS_CACHE) too",
    )
