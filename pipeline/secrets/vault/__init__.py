"""Vault and OpenBao, KV version 2, as a source of secrets.

`vault` is the adapter: it asks `paths` over an HTTP session of our own (`http`) with the token that `login`
gets; `faults` puts into words what a server answers, and `document` what is in a secret.
"""
