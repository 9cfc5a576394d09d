"""Which parts of a page are commands and files, so that none is passed over."""

from __future__ import annotations

import pytest

from tests.support.documented import Command, Written, steps


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("```sh\nmetis plan\n```", [Command(2, "metis plan", True)]),
        (
            "words\n\n    metis plan\n    # a remark\n    metis image\n",
            [Command(3, "metis plan", True), Command(5, "metis image")],
        ),
        ("1. first\n\n   ```sh\n   ls\n   ```\n", [Command(4, "ls", True)]),
        ("- first\n\n      metis plan\n", [Command(3, "metis plan", True)]),
        ("```sh\nmetis plan \\\n  --json\n```", [Command(3, "metis plan   --json", True)]),
        ("```sh\n# only a remark\n\n```", []),
        ("```yaml\n# nodes/a.yaml\nclass: b\n```", [Written("nodes/a.yaml", "# nodes/a.yaml\nclass: b\n")]),
        ("```python\n# hooks/a.py\n```", [Written("hooks/a.py", "# hooks/a.py\n")]),
        ("```yaml\n# ../a.yaml\n```", []),
        ("```yaml\n# /etc/a.yaml\n```", []),
        ("```yaml\nclass: b\n```", []),
        ("```\nmetis plan\n```", [Command(2, "metis plan", True)]),
        ("    nodes: {}\n", []),
        ("words of metis plan\n", []),
        ("", []),
    ],
)
def test_commands_and_files_of_a_page(page: str, found: list[Command | Written]) -> None:
    assert list(steps(page)) == found
