"""The site of the documentation, built by `make docs`.

Everything that a browser needs is in the site: it can be read with the cable pulled.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import generated, pictures

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Metis"
extensions = ["myst_parser", "sphinx.ext.graphviz", "sphinx_click"]
myst_heading_anchors = 3
highlight_language = "none"
graphviz_output_format = "svg"
html_theme = "furo"
html_title = "Metis"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False


def complete(app: Sphinx, name: str, source: list[str]) -> None:
    """Put into a page what is made from the code, pictures, and links that lead to pages of the site."""
    own = generated.linked(source[0], Path(app.env.doc2path(name)))
    source[0] = pictures.drawn(generated.filled(own))


def setup(app: Sphinx) -> None:
    """Tell Sphinx of what this site does beyond it."""
    app.connect("source-read", complete)
