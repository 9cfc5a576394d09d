"""Artifacts of registries, read with suspicion: pulled, kept in the cache, and pushed.

`registry` is what others see; `client` speaks the protocol (oras) over a `session` that decides what it may
say to whom, with the `credentials` that `access` and the files of other tools name. `artifact` reads
manifests.
"""
