"""The identity that a node already has, read from its old card, its mounted root or the live node.

`source` understands what an operator names, `ssh` asks a live node, `items` says which files tell what.
"""
