"""doit's side: what the tasks of dodo.py do (`tasks`), and when they need not (`checks`).

`actions` makes methods what doit can call, `freshness` has the checks that doit asks, and `doit_setup` is how
doit runs it all. `pipeline.walk` runs doit from within `metis`; what came of the tasks is in `outcomes`.
"""
