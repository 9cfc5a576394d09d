"""doit's side: what the tasks of dodo.py do (`tasks`), and when they need not (`checks`).

`doit_setup` is how doit runs them; `walk` runs doit itself, and has its `outcomes` noted.
"""
