"""The composition root: one inventory with its artifacts, and the adapters that work on them.

`lab` has what all need; each question that people ask of a lab is a file beside it.
"""
