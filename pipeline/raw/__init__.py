"""Raw disk images as files.

`ranges`, `sparse`, `mapped` and `bmap` say which bytes of one matter, `delta` which of them its base has not,
`disk` reads and moves its partition table, `ext` and `blkid` tell of file systems, and `slot` is the place in
one that a burn fills in with a `record`.
"""
