"""One concern, one file: what a node's settings mean as entries of its manifest.

Each module has a pure `render(node)` and, beside it, the fragment of the schema for its part of the
settings. `concerns` lists them all.
"""
