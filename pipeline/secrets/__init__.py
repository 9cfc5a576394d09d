"""Secrets of nodes: where they are kept, what is made of them, and how a node's missing identity is made.

`secret` is the value that masks itself, `source` the port; one file for each kind of source.
"""

FORMS_VERSION = 1
"""Of what all forms do: counts up when one of them would give other bytes, as manifests only name them.

It stands here, as whoever asks for it in each run has no use for what the forms need.
"""
