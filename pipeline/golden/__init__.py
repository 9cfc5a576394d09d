"""Goldens, from where they are published to a raw image.

`fetch` puts it together: a source (one file for each: `file`, `http`, `oci`, `debian`) brings a file into
the store, checked by its hash, and `evidence` has its signature judged; `unpack` makes it a sparse raw
image. `source` is the port that the sources fit, `schemes` says which serves what, `registry` is what
artifacts are pulled from and pushed to.
"""
