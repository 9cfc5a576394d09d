"""Secrets of nodes: where they are kept, what is made of them, and how a node's missing identity is made.

`secret` is the value that masks itself, `source` the port; one file for each kind of source.
"""
