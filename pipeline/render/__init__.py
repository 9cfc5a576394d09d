"""One concern, one file: what a node's settings mean as entries of its manifest.

Each concern's module has a pure `render(node)` and, beside it, the fragment of the schema for its part of
the settings; `concerns` lists them all. Larger ones have helpers: `k3s_*`, and `network_lints`, `netplan`,
`keyfile` and `links` for `network`. What differs between operating systems is data, in `systems`.
"""
