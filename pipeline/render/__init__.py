"""One concern, one file: what a node's settings mean as entries of its manifest.

Each concern's module has a pure `render(node)` and, beside it, the fragment of the schema for its part of
the settings; `concerns` lists them all. `network` writes its files through `netplan` or `keyfile`; `k3s` has
the unit from `k3s_units` and what k3s keeps on its disk from `k3s_state`. What would only fail on the node
is found by the concern itself, or by `network_lints` and `k3s_lints`. What differs between operating systems
is data, in `systems`.
"""
