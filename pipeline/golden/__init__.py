"""Goldens, from where they are published to a raw image.

`fetch` puts it together: a source (one file or folder for each: `file`, `http`, `oci`, `debian`) brings a
file into the cache, checked by its hash, and `trust` has its signature judged; `unpack` makes it a sparse
raw image. `source` is the port that the sources fit, `schemes` says which serves what, `registry` is what
artifacts are pulled from and pushed to. What is downloaded (`asking`, `download`, `partial`) goes on where
it broke off.

What goes along on the way of a file: the lab makes `Means` once (where things are, who may be asked); for
each file there is a `Wanted` (what is declared of it), from which `fetch` makes `Terms` for the source that
opens it. `Manners` say how patiently a server is asked, and a `Login` is what a source tells `asking` to say
there.
"""
