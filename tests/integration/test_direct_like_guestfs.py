"""Any tree of files: the direct injector puts it in as it is asked, and just as the appliance does.

The trees that hypothesis thinks of are put one after the other into one image; the appliance, which takes long
to start, gets all of them in one launch, and reads both images.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InventoryError
from pipeline.inject.apply import apply
from pipeline.inject.direct import DirectInjector
from pipeline.inject.guestfs import GuestfsInjector, GuestfsTree
from pipeline.inject.partitions import exactly
from pipeline.inject.sources import Sources, no_secrets
from pipeline.inject.tree import Places, Tree, Trees
from pipeline.manifest import Contribution, collect
from pipeline.model import Directory, Entry, File, Manifest, Remove, Side, Symlink, Text
from pipeline.raw import disk
from tests.support import goldens
from tests.support.injectors import of_the_lab, usable
