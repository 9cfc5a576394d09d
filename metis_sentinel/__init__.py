"""`metis-sentinel`: reads facts on a live node, prints them, keeps them, and brings them to the service.

A package of its own, of Python's standard library alone and for Python 3.9 and later, so that it runs
wherever a node has Python. It starts no program, and reads nothing that is secret. What it says is described
by `snapshot.schema.json`; what is made of it is in `pipeline.facts`.
"""

__version__ = "0.1.0"
