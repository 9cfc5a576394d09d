"""Goldens, from where they are published to a raw image.

`fetch` puts it together: a source (one file or folder for each: `file`, `http`, `oci`, `debian`) brings a
file into the cache, checked by its hash, and `trust` has its signature judged; `unpack` makes it a sparse
raw image. `source` is the port that the sources fit, `schemes` says which serves what, `registry` is what
artifacts are pulled from and pushed to. What is downloaded (`asking`, `download`, `partial`) goes on where
it broke off.
"""
