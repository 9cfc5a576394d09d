"""The site of the documentation, built by `make docs`.

Everything that a browser needs is in the site: it can be read with the cable pulled.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import generated, pictures

if TYPE_CHECKING:
    import click
    from sphinx.application import Sphinx

project = "Metis"
extensions = ["myst_parser", "sphinx.ext.graphviz", "sphinx_click"]
myst_heading_anchors = 3
highlight_language = "none"
graphviz_output_format = "svg"
html_theme = "furo"
html_title = "Metis"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
smartquotes = False  # it would make one dash of the two before an option, which who copies it then types


def complete(app: Sphinx, name: str, source: list[str]) -> None:
    """Put into a page what is made from the code, pictures, and links that lead to pages of the site."""
    own = generated.linked(source[0], Path(app.env.doc2path(name)))
    source[0] = pictures.drawn(generated.filled(own))


def show_named(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Leave out of a command's arguments what has no name: it is there to be refused."""
    if ".. option:: " in lines:
        del lines[lines.index(".. option:: ") :]


def show_plainly(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Keep placeholders such as ssh://HOST and USER@HOST from becoming links; names of options never do."""
    link = re.compile(r"(\b[a-z]+://|@)")
    lines[:] = [line if line.startswith(".. option::") else link.sub(r"\\\1", line) for line in lines]


def setup(app: Sphinx) -> None:
    """Tell Sphinx of what this site does beyond it."""
    app.connect("source-read", complete)
    app.connect("sphinx-click-process-arguments", show_named)
    for part in ("description", "options", "epilog"):
        app.connect(f"sphinx-click-process-{part}", show_plainly)
