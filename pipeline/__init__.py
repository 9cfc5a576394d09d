"""Metis: from a declared inventory of lab nodes to recovery cards.

`model` and `errors` hold the words. The rest is read in the order in which a node travels:
`inventory` → `render` → `manifest` → `golden` → `inject` → `tasks`, which puts the parts together for
`dodo.py` and `cli`.
"""
