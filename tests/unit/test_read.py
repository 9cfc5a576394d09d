"""Reading an inventory from several threads at once, as `doit -n 4` does."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.machine import process

AT_ONCE = """
import sys, threading
from pathlib import Path
from pipeline.errors import InventoryError
from pipeline.inventory.read import Inventory

inventory, barrier, said = Inventory(Path(sys.argv[1])), threading.Barrier(8), []
sys.setswitchinterval(1e-6)

def read(number):
    barrier.wait()
    try:
        inventory.get("nodes", f"n{number}")
    except InventoryError as error:
        said.append(str(error))

threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(said))
"""


def test_the_first_check_may_be_asked_for_by_many_threads_at_once(tmp_path: Path) -> None:
    """In processes of their own, as the schemas are put together once in each."""
    (tmp_path / "nodes").mkdir()
    for number in range(8):
        (tmp_path / "nodes" / f"n{number}.yaml").write_text("class: pi\nhostnme: x\n")
    for _ in range(10):
        assert process.run([sys.executable, "-c", AT_ONCE, tmp_path]).out == b"8\n"
