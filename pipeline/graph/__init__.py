"""doit's side: what the tasks of dodo.py do (`tasks`), and when they need not (`checks`).

`doit_setup` is how doit runs them, `run` how `metis` does, and `outcomes` what came of it.
"""
