"""Goldens, from where they are published to a raw image.

`fetch` puts it together: a source (one file for each: `file`, `http`, `debian`) brings a file into the store,
checked by its hash; `unpack` makes it a sparse raw image. `source` is the port that the sources fit.
"""
